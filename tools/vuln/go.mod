// govulncheck, and the vulnerabilities that it looks for, which the Go project
// publishes as a module, too: what is known is pinned like everything else, and a
// build of today finds tomorrow what it finds today. To look for newer ones:
//
//	go get golang.org/x/vulndb@latest
//
// `go mod tidy` would drop that line: only its data is used, no package.
module ms2m.dev/ms2m/tools/vuln

go 1.26.0

require golang.org/x/vuln v1.9.0

require (
	github.com/google/go-cmp v0.7.0 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/telemetry v0.0.0-20261010193011-f71dc92da45e // indirect
	golang.org/x/tools v0.52.0 // indirect
	golang.org/x/vulndb v0.0.0-20261105234957-e22db6528018 // indirect
)
