package doctor

import (
	"fmt"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// Page is the catalogue as a page of the documentation, in Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString(`# Why a job waits or fails: the catalogue

Every reason has a code. ` + "`paictl job explain JOB`" + ` says which ones hold for a job, names the thing at fault and the command that mends it;
lists of jobs show the first one. This page is made from the catalogue in the code: ` + "`go test ./internal/doctor -update`" + `.

A reason is seen within 15 seconds, unless its row says why it takes longer.

`)
	for _, part := range parts {
		fmt.Fprintf(&b, "## %s\n\n| code | what | what it means | what to do | who |\n|---|---|---|---|---|\n", part.title)
		for _, e := range Catalogue() {
			if !strings.HasPrefix(e.Code, part.prefix) {
				continue
			}
			cause := e.Cause
			if e.Slow != "" {
				cause += " *" + e.Slow + "*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.Code, e.Title, cause, e.Fix, fixers[e.Who])
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

var parts = []struct{ prefix, title string }{
	{"STO-1", "Claims and volumes"}, {"STO-2", "What workers lack"}, {"STO-3", "File servers"}, {"STO-4", "Folders and permissions"},
	{"STO-5", "Secrets"}, {"STO-9", "Everything else about storages"}, {"JOB-1", "Refused when submitted"}, {"JOB-2", "Finding a worker"},
	{"JOB-3", "Container images"}, {"JOB-4", "Starting, running, ending"},
}

var fixers = map[pai.Fixer]string{pai.FixedByUser: "user", pai.FixedByAdministrator: "administrator", pai.FixedByWaiting: "nobody: it passes"}
