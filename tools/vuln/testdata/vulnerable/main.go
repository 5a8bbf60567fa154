// Command vulnerable calls a function of which it is known that it can be made to
// panic (GO-2021-0113): what looks for such calls has to find this one.
package main

import (
	"fmt"
	"os"

	"golang.org/x/text/language"
)

func main() {
	fmt.Println(language.Parse(os.Args[1]))
}
