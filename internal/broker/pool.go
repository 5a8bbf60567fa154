package broker

import (
	"context"
	"sync"

	"k8s.io/utils/clock"
)

// Pool shares one connection per broker URL.
type Pool struct {
	clock clock.WithTicker
	wake  func(podUID string)

	running sync.WaitGroup
	mu      sync.Mutex
	clients map[string]*Client
}

// NewPool makes a pool. wake is called when a report came from the pod with
// that UID; with an empty UID when a connection came or went. It must not block.
func NewPool(c clock.WithTicker, wake func(podUID string)) *Pool {
	return &Pool{clock: c, wake: wake, clients: map[string]*Client{}}
}

// Acquire gives the client of a URL, which connects in the background. Each
// Acquire needs a Release.
func (p *Pool) Acquire(rawURL string) *Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[rawURL]
	if c == nil {
		c = newClient(rawURL, p)
		p.clients[rawURL] = c
		var ctx context.Context
		ctx, c.stop = context.WithCancel(context.Background())
		p.running.Go(func() { c.run(ctx) })
	}
	c.users++
	return c
}

// Release gives a client back. The last user's release closes the connection,
// in the background: a broker that does not answer keeps nobody waiting.
func (p *Pool) Release(c *Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users--
	if c.users == 0 {
		delete(p.clients, c.url)
		c.stop()
	}
}

// Connections counts the connections that stand, and the brokers that there should be one to.
func (p *Pool) Connections() (up, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		if _, err := c.current(); err == nil {
			up++
		}
	}
	return up, len(p.clients)
}

// Close closes all connections and waits until they are closed.
func (p *Pool) Close() {
	p.mu.Lock()
	for url, c := range p.clients {
		delete(p.clients, url)
		c.stop()
	}
	p.mu.Unlock()
	p.running.Wait()
}
