package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// readTimeout bounds a read; one that takes longer is an error.
const readTimeout = 5 * time.Second

// read is one request for the count.
type read struct {
	begin, end time.Time
	count      uint64
	err        error
}

// Reads is what clients who read the count saw.
type Reads struct {
	Number int
	Errors []error
	// Stale are the reads that began after another had ended with a higher count.
	Stale int
	// Staleness is the longest time from the end of a read to the end of another
	// that began later and returned less.
	Staleness time.Duration
	Slowest   time.Duration
}

// String is the reads in a line.
func (r Reads) String() string {
	s := fmt.Sprintf("%d reads: %d errors, %d stale, for up to %.3f s; the slowest took %.3f s",
		r.Number, len(r.Errors), r.Stale, r.Staleness.Seconds(), r.Slowest.Seconds())
	if len(r.Errors) > 0 {
		s += fmt.Sprintf("; the first error: %v", r.Errors[0])
	}
	return s
}

// Reader reads a counter's count by HTTP, at a rate, whether or not the reads before have
// ended.
type Reader struct {
	client http.Client
	url    string
	stop   context.CancelFunc
	under  sync.WaitGroup // reads under way, and the pacing

	mu    sync.Mutex
	reads []read
}

// StartReader begins to read, until Finish. Each request has a connection of its
// own: a kept one would stay with the pod that it began with.
func StartReader(ctx context.Context, url string, rate float64) *Reader {
	pacing, stop := context.WithCancel(ctx)
	r := &Reader{
		url: url, stop: stop,
		client: http.Client{Timeout: readTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	r.under.Go(func() {
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer tick.Stop()
		for {
			select {
			case <-pacing.Done():
				return
			case <-tick.C:
				r.under.Go(func() { r.read(ctx) })
			}
		}
	})
	return r
}

func (r *Reader) read(ctx context.Context) {
	one := read{begin: time.Now()}
	one.count, one.err = r.get(ctx)
	one.end = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, one)
}

func (r *Reader) get(ctx context.Context) (uint64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", r.url, resp.Status)
	}
	var answer struct {
		Count *uint64 `json:"count"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Count == nil {
		return 0, fmt.Errorf("%s answers without a count", r.url)
	}
	return *answer.Count, nil
}

// Finish ends the reading and judges.
func (r *Reader) Finish() Reads {
	r.stop()
	r.under.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return judgeReads(r.reads)
}

// judgeReads looks for reads that went back behind one that had ended before.
func judgeReads(reads []read) Reads {
	r := Reads{Number: len(reads)}
	var good []read
	for _, one := range reads {
		r.Slowest = max(r.Slowest, one.end.Sub(one.begin))
		if one.err != nil {
			r.Errors = append(r.Errors, one.err)
		} else {
			good = append(good, one)
		}
	}
	ended := slices.Clone(good)
	slices.SortFunc(ended, func(a, b read) int { return a.end.Compare(b.end) })
	slices.SortFunc(good, func(a, b read) int { return a.begin.Compare(b.begin) })
	var news []read // the reads that returned more than any that had ended before
	next := 0
	for _, one := range good {
		for ; next < len(ended) && ended[next].end.Before(one.begin); next++ {
			if len(news) == 0 || ended[next].count > news[len(news)-1].count {
				news = append(news, ended[next])
			}
		}
		newer, _ := slices.BinarySearchFunc(news, one.count+1, func(n read, count uint64) int {
			return int(n.count) - int(count)
		})
		if newer < len(news) {
			r.Stale++
			r.Staleness = max(r.Staleness, one.end.Sub(news[newer].end))
		}
	}
	return r
}
