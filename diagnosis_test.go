package pai_test

import (
	"reflect"
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

// TestFindingFor: whose jobs hold what somebody waits for is for administrators, one's own for everybody.
func TestFindingFor(t *testing.T) {
	own, other := pai.JobID{User: "alice", Name: "a"}, pai.JobID{User: "bob", Name: "b"}
	f := pai.Finding{HeldBy: []pai.JobID{own, other}}
	for _, c := range []struct {
		caller pai.Caller
		want   []pai.JobID
	}{
		{pai.Caller{User: "alice"}, []pai.JobID{own}},
		{pai.Caller{User: "carol"}, []pai.JobID{}},
		{pai.Caller{User: "root", Admin: true}, []pai.JobID{own, other}},
	} {
		if got := f.For(c.caller).HeldBy; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s sees %v, want %v", c.caller.User, got, c.want)
		}
	}
	if len(f.HeldBy) != 2 || f.HeldBy[1] != other {
		t.Error("the finding itself was changed, which others share")
	}
}
