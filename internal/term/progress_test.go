package term

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPlainProgress(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out)
	p.Begin("etcd")
	p.Note("etcd", "too early to be told")
	p.Done("etcd", "answers")
	p.Begin("workers")
	p.Failed("workers", errors.New("no kernel"))
	for _, want := range []string{"✓ etcd (", "): answers\n", "✗ workers (", "): no kernel\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "too early") || strings.Contains(out.String(), "\033") {
		t.Errorf("noise:\n%q", out.String())
	}
}

func TestLiveLineIsCut(t *testing.T) {
	var out strings.Builder
	p := &Progress{out: &out, live: true, width: 30}
	p.Begin("workers")
	p.Note("workers", "worker1: "+strings.Repeat("boots ", 20))
	p.Done("workers", "1 Ready")
	for _, line := range strings.Split(out.String(), "\r\033[K") {
		if first, _, ended := strings.Cut(line, "\n"); !ended && len([]rune(first)) >= 30 {
			t.Errorf("a line of %d characters: %q", len([]rune(first)), first)
		}
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{400 * time.Millisecond: "0.4s", 12 * time.Second: "12s", 185 * time.Second: "3m05s"} {
		if got := Seconds(d); got != want {
			t.Errorf("Seconds(%s) = %s, want %s", d, got, want)
		}
	}
}
