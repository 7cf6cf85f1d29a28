package cli

import (
	"fmt"
	"strings"
	"testing"
)

// TestNodeList: what each worker can mount, and what it lacks.
func TestNodeList(t *testing.T) {
	two := nodesJSON(nodeJSON("worker1", `{"ok":3}`, ""), nodeJSON("worker2", `{"ok":2,"failed":1}`, lacksNFS), `{"node":"worker3","ready":false,"canMount":{},"missing":[],"counts":{}}`)
	for _, c := range []struct {
		name, answer string
		status       int
		out, said    string
	}{
		{name: "no administrator", answer: "!ForbiddenUserError", status: exitForbidden, said: "paictl: no\n"},
		{name: "three", answer: two, out: "NODE     READY  AGENT  CAN MOUNT     CANNOT  FAILED  PROBLEMS\n" +
			"worker1  yes    3h     hostPath,nfs          0\n" +
			"worker2  yes    3h     hostPath      nfs     1       STO-201\n" +
			"worker3  no     never                        0\n" +
			"\nwhat is wrong with a worker, and what mends it: paictl node check worker2\n"},
		{name: "none", answer: `{"nodes":[]}`, out: "NODE  READY  AGENT  CAN MOUNT  CANNOT  FAILED  PROBLEMS\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, said := runReadiness(t, map[string]string{summaryPath: c.answer}, "node", "list")
			if status != c.status || out != c.out || !strings.Contains(said, c.said) {
				t.Errorf("got %d\n%s\n%s\nwant %d\n%s\n%s", status, out, said, c.status, c.out, c.said)
			}
		})
	}
}

const lacksText = `
STO-201: worker2 lacks mount.nfs
  to do  run: paictl node prepare worker2
  by     an administrator
  about  node worker2
`

// TestNodeCheck: the matrix, one worker, many workers.
func TestNodeCheck(t *testing.T) {
	worker1 := nodeJSON("worker1", `{"ok":1,"pending":1}`, "", okCell("worker1", "data"), pendingCell("worker1", "local"))
	worker2 := nodeJSON("worker2", `{"failed":1}`, lacksNFS, failedCell("worker2", "data"))
	var many, failed []string
	for i := range matrixWorkers + 12 {
		name := fmt.Sprintf("w%02d", i)
		many = append(many, nodeJSON(name, `{"ok":7,"failed":1}`, ""))
		failed = append(failed, nodeJSON(name, `{"ok":0,"failed":1}`, "", failedCell(name, "data")))
	}
	for _, c := range []struct {
		name      string
		args      []string
		answers   map[string]string
		status    int
		out, said string // out: the beginning
		more      string // the end of the output
	}{
		{name: "no administrator", answers: map[string]string{summaryPath: "!ForbiddenUserError"}, status: exitForbidden, said: "no"},
		{name: "absent", args: []string{"worker9"}, answers: map[string]string{allPath + "?node=worker9": `{"nodes":[]}`}, status: exitNotFound, said: "there is no worker worker9; see: paictl node list"},
		{name: "two names", args: []string{"a", "b"}, status: exitUsage, said: "at most 1"},
		{name: "matrix", answers: map[string]string{summaryPath: nodesJSON(worker1, worker2), allPath: nodesJSON(worker1, worker2)}, status: exitFailed,
			out: "STORAGE  worker1  worker2\ndata     ok       failed\nlocal    pending  -\n" + lacksText, more: refusedText},
		{name: "well", args: []string{"worker1"}, answers: map[string]string{allPath + "?node=worker1": nodesJSON(worker1)},
			out: "STORAGE  STATE    AGE  LATENCY  FREE                CODE\ndata     ok       20h  120ms    1.5 GiB of 2.0 GiB\nlocal    pending\n"},
		{name: "many", answers: map[string]string{summaryPath: nodesJSON(many...), allPath + "?state=failed": nodesJSON(failed...)}, status: exitFailed,
			out:  "NODE  READY  AGENT  OK  UNCHECKED  FAILED  PENDING  STALE\nw00   yes    3h     7   0          1       0        0\nw01 ",
			more: "\n\nand 4 more, see: paictl node check w20, or paictl storage check data\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, said := runReadiness(t, c.answers, append([]string{"node", "check"}, c.args...)...)
			if status != c.status || !strings.HasPrefix(out, c.out) || !strings.HasSuffix(out, c.more) || !strings.Contains(said, c.said) {
				t.Errorf("got %d\n%s\n%s\nwant %d\n%s\n%s", status, out, said, c.status, c.out, c.said)
			}
			if c.status == exitOK && out != c.out {
				t.Errorf("got more than\n%s\nnamely\n%s", c.out, out)
			}
		})
	}
}
