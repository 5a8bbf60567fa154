package queue_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/internal/queue"
)

// BenchmarkDecide is what one look at the queue costs, by its length.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		var all []queue.Migration
		for i := range n {
			all = append(all, queue.Migration{
				UID: types.UID(fmt.Sprintf("uid-%d", i)), Namespace: fmt.Sprintf("ns-%d", i%3), Name: fmt.Sprintf("m-%d", i), Created: time.Unix(int64(i/8), 0),
				Nodes: []string{fmt.Sprintf("node-%d", i%20), fmt.Sprintf("node-%d", (i+1)%20)}, Pods: []types.UID{types.UID(fmt.Sprintf("pod-%d", i))}, Active: i < 5,
			})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				queue.Decide(all, queue.Limits{Migrations: 5, PerNode: 2})
			}
		})
	}
}
