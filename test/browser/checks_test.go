package browser

import _ "embed"

// checks is a program for the page: it returns what is wrong with how it looks.
//
//go:embed checks.js
var checks string
