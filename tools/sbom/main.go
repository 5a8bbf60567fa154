// Command sbom writes the bill of materials of an image, as CycloneDX in JSON: the
// Go modules that its programs were linked from, as those say themselves, and the
// packages of Debian that its CRIU is from. Equal inputs make equal bills: no time
// and no random number goes in.
package main

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	name := flag.String("name", "", "name of the image")
	version := flag.String("version", "", "version of the image")
	packages := flag.String("debian", "", "file that names packages of Debian, as build/criu.sh writes it")
	flag.Parse()
	if err := run(os.Stdout, *name, *version, *packages, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, name, version, packages string, programs []string) error {
	if name == "" || version == "" || len(programs) == 0 {
		return errors.New("use: sbom -name NAME -version VERSION [-debian FILE] PROGRAM…")
	}
	b := bill{components: map[string]cdx.Component{}, needs: map[string][]string{}}
	image := cdx.Component{BOMRef: "image", Type: cdx.ComponentTypeContainer, Name: name, Version: version}
	for _, path := range programs {
		if err := b.program(image.BOMRef, path, version); err != nil {
			return err
		}
	}
	if packages != "" {
		if err := b.debian(image.BOMRef, packages); err != nil {
			return err
		}
	}
	return b.write(out, image)
}

// bill are components by their reference, and what each needs.
type bill struct {
	components map[string]cdx.Component
	needs      map[string][]string
}

func (b bill) add(of string, c cdx.Component) {
	b.components[c.BOMRef] = c
	if !slices.Contains(b.needs[of], c.BOMRef) {
		b.needs[of] = append(b.needs[of], c.BOMRef)
	}
}

// program adds a program and the modules that are linked into it.
func (b bill) program(image, path, version string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	sum, err := digest(path)
	if err != nil {
		return err
	}
	ref := "program:" + filepath.Base(path)
	b.add(image, cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: filepath.Base(path), Version: version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
	})
	b.add(ref, golang("std", strings.TrimPrefix(info.GoVersion, "go")))
	for _, m := range info.Deps {
		b.add(ref, module(m, version))
	}
	return nil
}

// module is what was linked: a replacement, if there is one. A directory in place of
// a module has no version; here that is a part of this repository.
func module(m *debug.Module, version string) cdx.Component {
	switch {
	case m.Replace == nil:
	case m.Replace.Version == "" || m.Replace.Version == "(devel)":
		return golang(m.Path, version)
	default:
		m = m.Replace
	}
	return golang(m.Path, m.Version)
}

func golang(path, version string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + url.PathEscape(version)
	return cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
}

// debian adds packages: a line is name, version, architecture, source and its version.
func (b bill) debian(image, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		w := strings.Fields(s.Text())
		if len(w) != 5 {
			return fmt.Errorf("%s: %q is not name, version, architecture, source and its version", path, s.Text())
		}
		purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s", w[0], url.QueryEscape(w[1]), w[2])
		b.add(image, cdx.Component{
			BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: w[0], Version: w[1], PackageURL: purl,
			Properties: &[]cdx.Property{{Name: "ms2m:debian:source", Value: w[3] + " " + w[4]}},
		})
	}
	return s.Err()
}

func (b bill) write(out io.Writer, image cdx.Component) error {
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &image}
	components, dependencies := []cdx.Component{}, []cdx.Dependency{}
	for _, c := range b.components {
		components = append(components, c)
	}
	slices.SortFunc(components, func(x, y cdx.Component) int { return cmp.Compare(x.BOMRef, y.BOMRef) })
	for ref, needs := range b.needs {
		slices.Sort(needs)
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &needs})
	}
	slices.SortFunc(dependencies, func(x, y cdx.Dependency) int { return cmp.Compare(x.Ref, y.Ref) })
	bom.Components, bom.Dependencies = &components, &dependencies
	// Not the newest: fewer tools read that.
	return cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}
