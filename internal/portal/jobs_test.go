package portal_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

var listedJob = regexp.MustCompile(`<td class="name"><a href="/jobs/([^"]*)">`)

// listed are the jobs of a page of the list, in its order.
func listed(text string) string {
	var names []string
	for _, found := range listedJob.FindAllStringSubmatch(text, -1) {
		names = append(names, found[1])
	}
	return strings.Join(names, " ")
}

// TestListOfJobs: who sees which, and what the query string leaves over.
func TestListOfJobs(t *testing.T) {
	s := servertest.StartJobs(t, nil, someJobs())
	for user, lists := range map[string]map[string]string{
		"bob":   {"/jobs": "bob~own", "/jobs?all=yes": "bob~own"},
		"alice": {"/jobs": "alice~stuck alice~train", "/jobs?all=yes": "alice~stuck alice~train", "/jobs?state=RUNNING": "alice~train", "/jobs?keyword=+tuc+": "alice~stuck", "/jobs?state=STOPPED": ""},
		"admin": {"/jobs": "", "/jobs?all=yes": "alice~stuck alice~train bob~own", "/jobs?all=yes&state=FAILED": "bob~own", "/jobs?all=yes&keyword=alice": "alice~stuck alice~train"},
	} {
		b := open(t, s)
		b.signIn(user, "secret-"+user)
		for path, want := range lists {
			_, text := b.ask("GET", path, nil)
			if got := listed(text); got != want {
				t.Errorf("%s sees at %s %q, want %q\n%s", user, path, got, want, text)
			}
			if all := strings.Contains(text, "all users"); all != (user == "admin") {
				t.Errorf("%s is told of all users at %s: %t", user, path, all)
			}
		}
	}
}

// TestJobRows: a row has what is known, and under a job that waits stands why.
func TestJobRows(t *testing.T) {
	s := servertest.StartJobs(t, nil, someJobs())
	b := open(t, s)
	b.signIn("alice", "secret-alice")
	answer, text := b.ask("GET", "/jobs", nil)
	for _, want := range []string{"2026-11-20 10:00:00 UTC", "<td>default</td><td>2</td>", "home, personal", "STO-301: node worker2 cannot mount home", "run: apt-get install nfs-common</td>", "&lt;script&gt;"} {
		if !strings.Contains(text, want) {
			t.Errorf("the list lacks %q:\n%s", want, text)
		}
	}
	if answer.Header.Get("Refresh") != "" {
		t.Error("the list reloads although nobody asked for that")
	}
	if answer, _ := b.ask("GET", "/jobs?reload=yes", nil); answer.Header.Get("Refresh") != "5" {
		t.Errorf("the list does not reload by itself: %v", answer.Header)
	}
}

// TestManyJobs: a page has 200 of them, and links to those before and after.
func TestManyJobs(t *testing.T) {
	jobs := &servertest.Jobs{}
	for i := range 450 {
		id := pai.JobID{User: "alice", Name: pai.JobName(fmt.Sprintf("j%03d", i))}
		jobs.Put(servertest.Record{Job: pai.Job{ID: id, State: pai.JobSucceeded, Submitted: time.Unix(int64(-i), 0)}})
	}
	s := servertest.StartJobs(t, nil, jobs)
	b := open(t, s)
	b.signIn("alice", "secret-alice")
	for _, c := range []struct{ path, first, last, links string }{
		{"/jobs?keyword=j", "alice~j000", "alice~j199", `id="more" href="/jobs?keyword=j&amp;offset=200"`},
		{"/jobs?keyword=j&offset=200", "alice~j200", "alice~j399", `href="/jobs?keyword=j">Newer</a> <a id="more" href="/jobs?keyword=j&amp;offset=400"`},
		{"/jobs?keyword=j&offset=400", "alice~j400", "alice~j449", `href="/jobs?keyword=j&amp;offset=200">Newer</a></p>`},
	} {
		_, text := b.ask("GET", c.path, nil)
		names := strings.Fields(listed(text))
		if len(names) == 0 || names[0] != c.first || names[len(names)-1] != c.last || !strings.Contains(text, c.links) {
			t.Errorf("%s: %v, want %s to %s, and %s\n%s", c.path, names, c.first, c.last, c.links, text[max(0, len(text)-1500):])
		}
	}
}
