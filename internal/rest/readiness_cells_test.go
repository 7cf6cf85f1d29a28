package rest

import (
	"encoding/json"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// TestCells: cells that are written by hand are as the library would write them.
func TestCells(t *testing.T) {
	list := cells{
		{Node: "worker1", Storage: "home.a-b", State: pai.CellPending, Free: -1, Size: -1},
		{Node: "worker1", Storage: "foreign", State: pai.CellUnchecked, Note: `its "Secret" is <elsewhere>`, Free: -1, Size: -1},
		{Node: "worker1", Storage: "data", State: pai.CellOK, At: time.Date(2026, 1, 2, 3, 4, 5, 67_000_000, time.FixedZone("x", 3600)), Latency: 120 * time.Millisecond, Free: 1 << 50, Size: 2 << 50},
		{Node: "worker2", Storage: "data", State: pai.CellFailed, At: time.Unix(1, 0), Latency: 20 * time.Second,
			Finding: &pai.Finding{Code: "STO-301", Message: `node worker2 cannot mount "data" <now> & "ever"`, Evidence: "a\nb\x1b\u2028", Who: pai.FixedByAdministrator}},
	}
	for n := range len(list) + 1 {
		want := []cell{}
		for _, c := range list[:n] {
			want = append(want, cellOf(c))
		}
		wanted, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(list[:n]); err != nil || string(got) != string(wanted) {
			t.Errorf("got  %s, %v\nwant %s", got, err, wanted)
		}
	}
}
