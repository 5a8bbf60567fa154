// Package browser opens the reports of kubectl ms2m in a real browser, and looks at
// what it makes of them. `make browser` runs it. It is a module of its own, so that the
// product does not depend on a driver of browsers.
package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var (
	program     = flag.String("program", "../../bin/kubectl-ms2m", "the `program` that makes the reports")
	fixtures    = flag.String("fixtures", "../../internal/report/testdata", "`directory` of migrations")
	screenshots = flag.String("screenshots", "", "`directory` for pictures of what was looked at")
)

// widths are those of a phone, a tablet and a desk.
var widths = []int64{360, 800, 1280}

// browser is one for all tests of a process.
var browser context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // it opens what this repository makes, also as root
		chromedp.Flag("disable-dev-shm-usage", true))...)
	ctx, closeIt := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		fmt.Fprintln(os.Stderr, "browser: chromium does not start (hack/need.sh chromium installs it):", err)
		os.Exit(1)
	}
	browser = ctx
	code := m.Run()
	closeIt()
	stop()
	os.Exit(code)
}

// TestReports opens every report, at every width, in the light and in the dark.
func TestReports(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(*fixtures, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations in %s (%v)", *fixtures, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		page := filepath.Join(t.TempDir(), name+".html")
		if out, err := exec.Command(*program, "report", "-f", file, "-o", page).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, out)
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range widths {
				t.Run(fmt.Sprintf("%s/%s/%d", name, scheme, width), func(t *testing.T) {
					seen := look(t, page, width, scheme)
					for _, problem := range seen.problems {
						t.Error(problem)
					}
					if !strings.Contains(seen.text, "Conditions") || !strings.Contains(seen.text, "StatefulMigration") {
						t.Errorf("the page does not show the migration:\n%s", seen.text)
					}
				})
			}
		}
	}
}

// TestTheChecksSee: a page with every fault that is looked for is not good.
func TestTheChecksSee(t *testing.T) {
	page := filepath.Join(t.TempDir(), "bad.html")
	if err := os.WriteFile(page, []byte(`<!doctype html><title>bad</title>
<style>body { background: white; color: black }</style>
<p style="width: 2000px">wider than any screen</p>
<p style="position: absolute; top: 100px; left: 10px">one text</p><p style="position: absolute; top: 105px; left: 12px">over another</p>
<p style="color: #bbb">hardly to be read</p>
<svg width="10" height="10"><rect width="10" height="10"/></svg>
<script>console.error("complaint"); nothing.there()</script>
<img alt="" src="http://127.0.0.1:9/picture.png">`), 0o600); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(look(t, page, 360, "light").problems, "\n")
	for _, want := range []string{"outside", "overlaps", "contrast", "no title", "complaint", "nothing is not defined", "request for http://127.0.0.1:9/picture.png"} {
		if !strings.Contains(all, want) {
			t.Errorf("the checks do not see %q:\n%s", want, all)
		}
	}
}

// sight is what was seen of a page.
type sight struct {
	problems []string
	text     string
}

// look opens a page and says what is wrong with it.
func look(t *testing.T, page string, width int64, scheme string) sight {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	address := "file://" + page
	var (
		mu  sync.Mutex
		out sight
	)
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		out.problems = append(out.problems, fmt.Sprintf(format, args...))
	}
	err := chromedp.Listen(tab, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if url := e.Request.URL; url != address && !strings.HasPrefix(url, "data:") {
				complain("request for %s", url)
			}
		case *runtime.EventExceptionThrown:
			text := e.ExceptionDetails.Text
			if thrown := e.ExceptionDetails.Exception; thrown != nil {
				text += ": " + thrown.Description
			}
			complain("exception: %s", text)
		case *runtime.EventConsoleAPICalled:
			for _, a := range e.Args {
				complain("console: %s", a.Value)
			}
		case *log.EventEntryAdded:
			complain("log: %s", e.Entry.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(tab, time.Minute)
	defer stop()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	metrics := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500}
	err = chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err1 := cdp.Call(ctx, t, network.Enable, network.EnableParams{})
		_, err2 := cdp.Call(ctx, t, log.Enable, cdp.Empty{})
		_, err3 := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, metrics)
		_, err4 := cdp.Call(ctx, t, emulation.SetEmulatedMedia, media)
		return errors.Join(err1, err2, err3, err4)
	}), chromedp.Navigate(address))
	if err != nil {
		t.Fatal(err)
	}
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](checks))
	if err != nil {
		t.Fatal(err)
	}
	if out.text, err = chromedp.Run(ctx, chromedp.TextContent(chromedp.CSS("body"))); err != nil {
		t.Fatal(err)
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if *screenshots != "" {
		name := fmt.Sprintf("%s-%s-%d.png", strings.TrimSuffix(filepath.Base(page), ".html"), scheme, width)
		if err := os.WriteFile(filepath.Join(*screenshots, name), picture, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	out.problems = append(out.problems, found...)
	return out
}
