package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/internal/report"
)

// read reads a migration of testdata.
func read(t *testing.T, name string) report.Input {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := report.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	in.Now = time.Date(2026, 11, 26, 12, 2, 0, 0, time.UTC)
	return in
}

func write(t *testing.T, in report.Input) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, in); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReport holds what a report says; how it looks, test/browser sees.
func TestReport(t *testing.T) {
	for name, want := range map[string][]string{
		"completed": {"9.24 s", "284 ms", "90 ms", "1\u202f602", "903", "CaughtUp: 99.935/s arrived", "frozen</strong> 107 ms", "Readiness probe failed", "409.6 KiB"},
		"two-hops":  {"Hand-over 1", "Hand-over 2", "stock-0-m5520ac → stock-0", "2 attempts", "700.0 MiB"},
		"replaying": {"so far", "237 at last"},
		"outpaced":  {"Outpaced: 357.308/s arrived", "3.18 s"}, // as it was in the lab
		"failed":    {"NotEnoughDisk", "&lt;script&gt;alert(1)"},
	} {
		page := write(t, read(t, name))
		for _, text := range want {
			if !strings.Contains(page, text) {
				t.Errorf("the report of %s does not say %q", name, text)
			}
		}
	}
}

// outside finds what would load or run something.
var outside = regexp.MustCompile(`(?i)<(script|iframe|object|embed|img|base)\b|\son\w+="|(src|href)="[^d]|url\(|@import`)

// TestSelfContained: whatever is in a migration, its report loads and runs nothing.
func TestSelfContained(t *testing.T) {
	for _, name := range []string{"completed", "two-hops", "replaying", "failed"} {
		page := write(t, read(t, name))
		if found := outside.FindString(page); found != "" {
			t.Errorf("%s: %q", name, found)
		}
		style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(page)
		if style == nil {
			t.Fatal("no style")
		}
		sum := sha256.Sum256([]byte(style[1]))
		// html/template writes + as &#43; in an attribute.
		want := strings.ReplaceAll("default-src &#39;none&#39;; style-src &#39;sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"&#39;;", "+", "&#43;")
		if !strings.Contains(page, want) {
			t.Errorf("the page's policy does not let its own style in: want %s", want)
		}
	}
}

// FuzzReport: a file is read or refused, and what is read makes a page that runs nothing.
func FuzzReport(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := report.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		in.Now = time.Date(2026, 11, 26, 12, 2, 0, 0, time.UTC)
		var b bytes.Buffer
		if report.Write(&b, in) == nil && outside.Match(b.Bytes()) {
			t.Errorf("%q", outside.Find(b.Bytes()))
		}
	})
}

func TestBadInput(t *testing.T) {
	completed, err := os.ReadFile("testdata/completed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":          "there is no StatefulMigration",
		"kind: Pod": "there is no StatefulMigration",
		"{":         "EOF",
		string(completed) + "\n---\n" + string(completed):                           "several",
		"kind: StatefulMigration\napiVersion: example.com/v1":                       `apiVersion "example.com/v1"`,
		strings.Replace(string(completed), "lagMessages: 903", "lagMessages: x", 1): "StatefulMigration",
	} {
		if _, err := report.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	for _, rate := range []string{"fast", "NaN", "inf", "-1"} {
		in := read(t, "completed")
		in.Migration.Status.Series[2].ReplayRate = rate
		if err := report.Write(&bytes.Buffer{}, in); err == nil || !strings.Contains(err.Error(), "status.series") {
			t.Errorf("%q: %v, want it to name status.series", rate, err)
		}
	}
}
