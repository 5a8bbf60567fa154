package handover

import "testing"

// TestHome: who is not the owner knows where the state lives, or says nothing.
func TestHome(t *testing.T) {
	from := func(c *Command) { c.Predecessor = "10.0.0.3" }
	for name, tc := range map[string]struct {
		prepare []func(*Command)
		do      func(b *bench, copied *simProcess)
		want    string
	}{
		"restored":            {do: func(*bench, *simProcess) {}, want: "10.0.0.3"},
		"replaying":           {do: func(b *bench, c *simProcess) { b.do(c, StartReplay) }, want: "10.0.0.3"},
		"void":                {do: func(b *bench, c *simProcess) { b.step(c, DecisionRead{Decision: Aborted}) }, want: "10.0.0.3"},
		"live":                {do: func(b *bench, c *simProcess) { b.do(c, StartReplay); b.step(c, DecisionRead{Decision: Commit}) }},
		"the source is dead":  {do: func(b *bench, c *simProcess) { b.do(c, StartReplay); b.do(c, TakeOver) }},
		"the source was away": {prepare: []func(*Command){sequential}, do: func(*bench, *simProcess) {}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3)
			b.do(b.p, Prepare, append(tc.prepare, from)...)
			c := b.p.copy("pod-b")
			b.do(b.p, Resume)
			b.wake(c)
			tc.do(b, c)
			if got := c.in.Home(); got != tc.want {
				t.Errorf("%s names %q, want %q", c.in.State(), got, tc.want)
			}
			if got := b.p.in.Home(); got != "" {
				t.Errorf("the source, which owns the state, names %q", got)
			}
		})
	}
}
