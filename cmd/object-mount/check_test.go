package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/await"
)

// TestCheckListsOnePage: a check of a bucket with very many objects asks for the first page of them alone, and leaves nothing.
func TestCheckListsOnePage(t *testing.T) {
	l := newLab(t)
	bucket := filepath.Join(l.cmd.Args[slices.Index(l.cmd.Args, "--directory")+1], "images")
	for i := range 1100 { // a page has 1000
		put(t, filepath.Join(bucket, fmt.Sprintf("%04d", i)), nil)
	}
	l.before(t, func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if q.Get("continuation-token") == "" && q.Get("marker") == "" && q.Get("start-after") == "" {
			return false
		}
		t.Errorf("another page: %s", r.URL)
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	for _, prefix := range []string{"", "/prefix"} {
		for _, readOnly := range []bool{false, true} {
			v := l.volume
			v.Source += prefix
			v.ReadOnly = readOnly
			if c, err := l.engine.Check(await.Context(t), v, l.secret); err != nil || c.WriteDenied {
				t.Errorf("%q, read-only %v: %+v %v", prefix, readOnly, c, err)
			}
		}
	}
	entries, err := os.ReadDir(bucket)
	if err != nil || len(entries) != 1100 {
		t.Errorf("%d objects %v", len(entries), err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".pai-storage-check") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}
