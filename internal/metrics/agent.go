package metrics

import (
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Agent counts the legs of one node. Which node that is, the scrape knows.
type Agent struct {
	legs  *prometheus.HistogramVec
	moved *prometheus.CounterVec
}

// NewAgent registers what a node agent counts.
func NewAgent(to prometheus.Registerer) (*Agent, error) {
	a := &Agent{
		legs: prometheus.NewHistogramVec(histogram("ms2m_agent_leg_duration_seconds",
			"Time that legs of checkpoints took on this node, by direction and result (done, retrying, failed).", longBuckets), []string{"direction", "result"}),
		moved: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ms2m_agent_transferred_bytes_total",
			Help: "Bytes of checkpoint images that were pushed to, or pulled from, repositories."}, []string{"direction"}),
	}
	for _, c := range []prometheus.Collector{a.legs, a.moved} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Leg counts a leg that has ended, or has to be done again.
func (a *Agent) Leg(direction v1alpha1.TransferDirection, result string, took time.Duration) {
	a.legs.WithLabelValues(string(direction), result).Observe(took.Seconds())
}

// Pushed counts bytes of an image that is in its repository now.
func (a *Agent) Pushed(bytes int64) { a.moved.WithLabelValues("push").Add(float64(bytes)) }

// Pulled counts bytes of an image that came from there.
func (a *Agent) Pulled(bytes int64) { a.moved.WithLabelValues("pull").Add(float64(bytes)) }

// Node shows what lies on a node, and whether it can restore, at the moment of a scrape.
type Node struct {
	// Archives is where the kubelet writes checkpoints, Stage where they are staged.
	Archives, Stage string
	// Ready says why nothing can be restored on this node; nil: it can.
	Ready func() error
	Clock clock.PassiveClock

	mu    sync.Mutex
	facts v1alpha1.NodeFacts
}

// Seen keeps what the node was last seen to be.
func (n *Node) Seen(f v1alpha1.NodeFacts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.facts = f
}

var (
	descReady         = gauge("ms2m_agent_ready", "1 if checkpoints can be restored on this node, else 0.")
	descStaged        = gauge("ms2m_agent_staged_bytes", "Bytes of checkpoints that are staged on this node, or fetched for a pod to come.")
	descArchives      = gauge("ms2m_agent_archives", "Checkpoint archives that lie in the kubelet's directory: each holds the memory of a process.")
	descArchiveBytes  = gauge("ms2m_agent_archive_bytes", "Bytes of the checkpoint archives in the kubelet's directory.")
	descArchiveOldest = gauge("ms2m_agent_archive_oldest_seconds", "Age of the oldest checkpoint archive in the kubelet's directory. 0: there is none.")
	descFree          = gauge("ms2m_agent_free_bytes", "What can still be written, by where: archives, stage.", "directory")
	descInfo          = gauge("ms2m_agent_info", "Versions on this node; always 1.", "kernel", "criu")
)

// Describe implements prometheus.Collector.
func (n *Node) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReady, descStaged, descArchives, descArchiveBytes, descArchiveOldest, descFree, descInfo} {
		to <- d
	}
}

// Collect implements prometheus.Collector. What cannot be looked at is left out: a
// nought would be a lie.
func (n *Node) Collect(to chan<- prometheus.Metric) {
	say := func(d *prometheus.Desc, x float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	ready := 1.0
	if n.Ready() != nil {
		ready = 0
	}
	say(descReady, ready)
	if staged, err := size(n.Stage, "*"); err == nil {
		say(descStaged, float64(staged.bytes))
	}
	if archives, err := size(n.Archives, "checkpoint-*.tar"); err == nil {
		say(descArchives, float64(archives.files))
		say(descArchiveBytes, float64(archives.bytes))
		age := 0.0
		if archives.files > 0 {
			age = n.Clock.Since(archives.oldest).Seconds()
		}
		say(descArchiveOldest, max(age, 0))
	}
	for where, dir := range map[string]string{"archives": n.Archives, "stage": n.Stage} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil {
			say(descFree, float64(st.Bavail)*float64(st.Bsize), where)
		}
	}
	n.mu.Lock()
	facts := n.facts
	n.mu.Unlock()
	if facts.Kernel != "" {
		say(descInfo, 1, facts.Kernel, facts.CRIU)
	}
}

type contents struct {
	files, bytes int64
	oldest       time.Time
}

// size sums up the files below a directory whose names match. What goes away
// meanwhile does not count.
func size(dir, pattern string) (c contents, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == dir {
				return err
			}
			return nil
		}
		if ok, _ := filepath.Match(pattern, d.Name()); !ok || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		c.files++
		c.bytes += info.Size()
		if c.oldest.IsZero() || info.ModTime().Before(c.oldest) {
			c.oldest = info.ModTime()
		}
		return nil
	})
	return c, err
}
