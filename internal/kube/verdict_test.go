package kube

import (
	"strings"
	"testing"
	"time"
	"unique"

	"github.com/pai-storage/pai-storage/internal/doctor"
)

// TestVerdicts are of the storage as whoever asks knows it, even when it changes while they are being worked out.
func TestVerdicts(t *testing.T) {
	var v verdicts
	what := said{unique.Make("home"), unique.Make("Connection refused")}
	at := func(server string) func() doctor.Storage {
		return func() doctor.Storage { return doctor.Storage{Name: "home", Server: server} }
	}
	ask := func(generation uint64, storage func() doctor.Storage, want string) {
		t.Helper()
		f := v.verdict(what, storage, generation, "worker2", time.Time{})
		if f.Code != "STO-302" || !strings.Contains(f.Message, want) || !strings.Contains(f.Message, "worker2") || strings.Contains(f.Message, anyNode) {
			t.Errorf("generation %d: got %+v, want %s", generation, f, want)
		}
	}
	never := func() doctor.Storage {
		t.Error("it is worked out again")
		return doctor.Storage{}
	}
	ask(1, at("10.0.0.1"), "10.0.0.1")
	ask(1, never, "10.0.0.1")
	ask(2, at("10.0.0.2"), "10.0.0.2")
	ask(1, at("10.0.0.1"), "10.0.0.1") // somebody who began before the change
	ask(2, never, "10.0.0.2")
	ask(3, func() doctor.Storage {
		ask(4, at("10.0.0.4"), "10.0.0.4")
		return at("10.0.0.3")()
	}, "10.0.0.3")
	ask(4, never, "10.0.0.4")
}
