package doctor

import (
	"fmt"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/taskinit"
)

// prepared is about what runs before a task: it makes the personal folders, and says why it could not.
func (d *diagnosis) prepared(t Task, c Container) pai.Finding {
	failure, ok := taskinit.ParseFailure(c.Ended.Message)
	s, known := d.storageNamed(failure.Storage)
	if !ok || !known {
		f := noCommand.finding("image "+t.Image, "use an image with /bin/sh", "node %s cannot prepare the task (%s ended with exit code %d)", t.Node, c.Name, c.Ended.Code)
		f.Evidence = c.Ended.Message
		return f
	}
	f := folderFinding(s, failure, t.Node)
	f.Evidence = failure.Detail
	return f
}

func folderFinding(s Storage, failure taskinit.Failure, node string) pai.Finding {
	name, user := "storage "+string(s.Name), failure.User
	folder := fmt.Sprintf("the folder of user %s in %s", user, describe(s))
	place := fmt.Sprintf("%s on %s", failure.User, where(s))
	switch failure.Reason {
	case taskinit.ReasonSymlink, taskinit.ReasonNotDirectory:
		return folderKind.finding(name, "remove what is in its place: "+place, "%s is no folder: a link or a file is in its place", folder)
	case taskinit.ReasonAbsent:
		return folderAbsent.finding(name, "create it on the server: "+place, "%s does not exist, and the storage is read-only", folder)
	case taskinit.ReasonDenied:
		return folderDenied.finding(name, "change its owner on the server, or run the task as its owner", "%s cannot be used: it belongs to somebody else", folder)
	case taskinit.ReasonCaseClash:
		return folderCase.finding(name, "rename one of the two users", "%s is another user's: the server does not tell upper from lower case", folder)
	case taskinit.ReasonReadOnly:
		return readOnly.finding(name, "set readOnly in the source of volume "+s.Volume+", or let the server allow writing", "%s cannot be written: the server lets only read", folder)
	case taskinit.ReasonNoSpace:
		return storageFull.finding(name, "delete what is not needed, or enlarge the storage", "%s cannot be created: there is no space left", folder)
	case taskinit.ReasonStale:
		return cannot(staleHandle, s, node, "end the jobs on "+node+" that mount it, so that it is mounted anew", "what it had mounted is gone on %s (stale file handle)", where(s))
	case taskinit.ReasonIO:
		return cannot(serverFault, s, node, "look into the log of the server", "%s answers with an input/output error", where(s))
	}
	return folderCreate.finding(name, "create the folder on the server and give it to the user, or let workers write to the export's root", "%s cannot be created", folder)
}
