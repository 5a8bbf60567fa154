package sdk

import (
	"errors"
	"strings"
	"testing"
)

// FuzzPodUID holds that what is no mount of the kubelet names no pod: a copy that
// took itself for another's pod would go on in the source's place.
func FuzzPodUID(f *testing.F) {
	f.Add("1 2 8:1 /var/lib/kubelet/pods/3c1e7b2a-8a55-4a0e-9a65-0b1d2f6f7c11/etc-hosts /etc/hosts rw - ext4 /dev/sda rw")
	f.Add("1 2 8:1 /pods/-/containers/a/b /dev/termination-log")
	f.Add("1 2 8:1 /a\\040b /etc/hosts")
	f.Fuzz(func(t *testing.T, mountinfo string) {
		uid, err := podUID(strings.NewReader(mountinfo))
		switch {
		case err == nil && (len(uid) != 36 || !strings.Contains(mountinfo, "/pods/"+uid+"/")):
			t.Errorf("%q names the pod %q", mountinfo, uid)
		case err == nil && !strings.Contains(mountinfo, "/etc/hosts") && !strings.Contains(mountinfo, "/dev/termination-log"):
			t.Errorf("%q names the pod %q by no file of the kubelet", mountinfo, uid)
		case err != nil && uid != "":
			t.Errorf("%q with %v", uid, err)
		case err != nil && !errors.Is(err, ErrNoPod) && len(mountinfo) < 1<<20:
			t.Errorf("%v", err)
		}
	})
}
