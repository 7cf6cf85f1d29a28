package mounter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/mount"
)

type served struct {
	mount.Mounter
	all []mount.Served
	err error
}

func (s served) Served(context.Context) ([]mount.Served, error) { return s.all, s.err }

func TestList(t *testing.T) {
	some := served{all: []mount.Served{
		{Target: "/pods/a", Volume: mount.Volume{Kind: mount.AzureBlob, Source: "archive"}, PID: 7, Alive: true},
		{Target: "/pods/b", Volume: mount.Volume{Kind: mount.S3, Source: "images"}, Pending: 2, Bytes: 300, Fault: "403"},
	}}
	var out bytes.Buffer
	if err := list(t.Context(), some, nil, &out); err != nil || out.String() != "alive  0 files to upload  archive at /pods/a\ngone   2 files to upload  images at /pods/b\n" {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, s := range []served{some, {}} {
		out.Reset()
		var back []mount.Served
		if err := list(t.Context(), s, []string{"--output", "json"}, &out); err != nil || json.Unmarshal(out.Bytes(), &back) != nil || len(back) != len(s.all) || back == nil {
			t.Errorf("%v: %s", err, out.String())
		}
	}
	if err := list(t.Context(), some, []string{"--odd"}, &out); err == nil || !strings.Contains(err.Error(), "--odd") {
		t.Error(err)
	}
	if err := list(t.Context(), served{err: errors.New("no right")}, nil, &out); err == nil {
		t.Error("an error is lost")
	}
}

func TestCalledWrongly(t *testing.T) {
	for _, args := range [][]string{{}, {"odd"}, {"run", "more"}, {"enter", "/proc/1"}, {"flexvolume"}} {
		var out, errs bytes.Buffer
		if code := Main(t.Context(), args, strings.NewReader(""), &out, &errs); code != 2 || out.Len() > 0 || !strings.HasPrefix(errs.String(), "Usage:") {
			t.Errorf("%v: %d, %s, %s", args, code, out.String(), errs.String())
		}
	}
	var out, errs bytes.Buffer
	if code := Main(t.Context(), []string{"--help"}, strings.NewReader(""), &out, &errs); code != 0 || out.String() != help || errs.Len() > 0 {
		t.Errorf("%d, %s", code, errs.String())
	}
	// What is asked for wrongly is not repeated: it may hold a secret.
	if code := Main(t.Context(), []string{"run"}, strings.NewReader(`{"secret":"CANARY"}`), &out, &errs); code != 1 || strings.Contains(errs.String(), "CANARY") {
		t.Errorf("%d, %s", code, errs.String())
	}
}
