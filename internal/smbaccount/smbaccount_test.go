package smbaccount_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/smbaccount"
)

func TestRecord(t *testing.T) {
	const hash = "0123456789ABCDEF0123456789ABCDEF"
	r := smbaccount.Record{User: "a.b-c_d", Hash: hash, Set: time.Unix(1700000000, 0).UTC(), Admin: true}
	got, err := smbaccount.Parse(smbaccount.Name(r.User), r.Data())
	if err != nil || got != r {
		t.Errorf("%+v became %+v, error %v", r, got, err)
	}
	for name, spoil := range map[string]func(map[string][]byte){
		"another's name": func(d map[string][]byte) { d["username"] = []byte("bob") },
		"no name":        func(d map[string][]byte) { delete(d, "username") },
		"no hash":        func(d map[string][]byte) { delete(d, "nthash") },
		"a short hash":   func(d map[string][]byte) { d["nthash"] = []byte(hash[:30]) },
		"a long hash":    func(d map[string][]byte) { d["nthash"] = []byte(hash + "00") },
		"no hex":         func(d map[string][]byte) { d["nthash"] = []byte(strings.Repeat("g", 32)) },
		"no time":        func(d map[string][]byte) { d["set"] = []byte("yesterday") },
	} {
		data := r.Data()
		spoil(data)
		if _, err := smbaccount.Parse(smbaccount.Name(r.User), data); err == nil || strings.Contains(err.Error(), "0123") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
