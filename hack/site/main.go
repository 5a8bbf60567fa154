// Command site makes the documentation's pages: it writes them into site/.
package main

import (
	"fmt"
	"os"

	"ms2m.dev/ms2m/docs/site"
)

func main() {
	if err := site.Write(".", "site"); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	fmt.Println("site/index.html")
}
