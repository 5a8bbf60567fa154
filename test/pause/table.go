package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"ms2m.dev/ms2m/test/harness"
)

// The parts of a pause, by whose clock they are taken.
const (
	partPause    = "pause"                           // the source's
	partDrain    = "PREPARE → PREPARED"              // the manager's
	partRest     = "call, RESUME, RELAYING"          // what is left of the pause
	partBegin    = "containerd begins → CRIU begins" // the node's, from here on
	partDump     = "CRIU begins → ends"
	partFreezing = "  CRIU: freezing"
	partFrozen   = "  CRIU: frozen"
	partThaw     = "CRIU ends → the container goes on"
	partTold     = "call → RESUME is sent" // the manager's, beside the others
	partAnswer   = "call → answer"
)

var partsInOrder = []string{
	partPause, partDrain, partBegin, partDump, partFreezing, partFrozen, partThaw, partRest, "", partTold, partAnswer,
}

func kubeconfig() string { return os.Getenv(harness.EnvKubeconfig) }

func print(out io.Writer, samples []sample) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "part\t")
	for _, way := range ways {
		fmt.Fprintf(w, "%s\t(min–max)\t", way)
	}
	fmt.Fprintln(w)
	for _, part := range partsInOrder {
		if part == "" {
			fmt.Fprintln(w)
			continue
		}
		fmt.Fprintf(w, "%s\t", part)
		for _, way := range ways {
			low, middle, high := spread(samples, way, part)
			fmt.Fprintf(w, "%d\t%d–%d\t", middle.Milliseconds(), low.Milliseconds(), high.Milliseconds())
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "pause:", err)
	}
}

// spread is the least, the median and the greatest of a part.
func spread(samples []sample, w way, part string) (low, middle, high time.Duration) {
	var all []time.Duration
	for _, s := range samples {
		if s.way == w {
			all = append(all, s.parts[part])
		}
	}
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	return all[0], all[len(all)/2], all[len(all)-1]
}
