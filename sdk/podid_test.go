package sdk

import (
	"errors"
	"strings"
	"testing"
)

func TestPodUID(t *testing.T) {
	const uid = "3c1e7b2a-8a55-4a0e-9a65-0b1d2f6f7c11"
	for name, c := range map[string]struct {
		mountinfo, want string
	}{
		"hosts": {"1 2 8:1 /var/lib/kubelet/pods/" + uid + "/etc-hosts /etc/hosts rw - ext4 /dev/sda rw", uid},
		"termination log": {"1 2 0:5 / /proc rw - proc proc rw\n" +
			"3 2 8:1 /kubelet/pods/" + uid + "/containers/counter/9f8e7d6c /dev/termination-log rw - ext4 /dev/sda rw", uid},
		"another file of the kubelet": {"1 2 8:1 /var/lib/kubelet/pods/" + uid + "/volumes/x /data rw - ext4 /dev/sda rw", ""},
		"a service's own path":        {"1 2 8:1 /pods/" + uid + "/etc-hosts /srv/hosts rw - ext4 /dev/sda rw", ""},
		"no pod":                      {"1 2 8:1 / / rw - ext4 /dev/sda rw\nshort line", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := podUID(strings.NewReader(c.mountinfo))
			if got != c.want || (c.want == "") != errors.Is(err, ErrNoPod) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
