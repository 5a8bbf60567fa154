package registry

import (
	"regexp"
	"strings"
	"testing"
)

var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// FuzzReference holds that an image is named by digest or not at all, at the host that
// is written there: status and objects of transfer legs are where references come from.
func FuzzReference(f *testing.F) {
	f.Add("registry.example.com/ms2m@sha256:" + strings.Repeat("0a", 32))
	f.Add("registry.example.com:5000/a/b:tag@sha256:" + strings.Repeat("0a", 32))
	f.Add("user:password@host/a@sha256:00")
	f.Add("../a@sha512:" + strings.Repeat("0", 128))
	c := New()
	f.Fuzz(func(t *testing.T, ref string) {
		d, err := c.parse(ref)
		if err != nil {
			return
		}
		if !sha256Digest.MatchString(d.DigestStr()) || !strings.HasSuffix(ref, d.DigestStr()) {
			t.Errorf("%q is taken for the digest %q", ref, d.DigestStr())
		}
		if host := d.RegistryStr(); !strings.HasPrefix(ref, host) && host != "index.docker.io" {
			t.Errorf("%q is taken to be at %q", ref, host)
		}
		if strings.Contains("/"+d.RepositoryStr()+"/", "/../") {
			t.Errorf("%q leads out: %q", ref, d.RepositoryStr())
		}
		if d.Scheme() != "https" && strings.HasPrefix(ref, "registry.example.com") {
			t.Errorf("%q is asked by %s", ref, d.Scheme())
		}
	})
}
