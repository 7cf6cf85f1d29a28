package adtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/adtest"
	"github.com/pai-storage/pai-storage/internal/await"
)

func TestLab(t *testing.T) {
	began := time.Now()
	lab := adtest.New(t)
	m := lab.Machine(t, "m")
	t.Log("machine", time.Since(began))
	if out := m.MustRun(t, "", "hostname"); out != "m\n" {
		t.Errorf("hostname: %q", out)
	}
	m.MustRun(t, "", "sh", "-c", "(sleep 0.1 &) ; true")
	await.Until(t, "what nobody waits for is cleared away", func() bool {
		left := m.MustRun(t, "", "ps", "ax")
		return !strings.Contains(left, "sleep 0.1") && !strings.Contains(left, "defunct")
	})
	began = time.Now()
	c := lab.Controller(t)
	t.Log("controller", time.Since(began))
	if out := m.MustRun(t, "", "getent", "hosts", "dc1.pai.test"); !strings.Contains(out, c.Address) {
		t.Errorf("getent: %q", out)
	}
	t.Log(m.MustRun(t, adtest.AlicePassword+"\n", "kinit", "alice@PAI.TEST"))
}
