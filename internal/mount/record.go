package mount

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Two volumes that Kubernetes takes for one, because their volumeHandles are the same, come to the same place of a node. The second one must not be given
// the first one's files: so the engine notes which volume it mounted where.

// noted is what tells volumes apart. No secret is in it, and no mount options: an administrator may change those while the volume is mounted.
type noted struct {
	Target   string `json:"target"`
	Kind     Kind   `json:"kind"`
	Source   string `json:"source"`
	Endpoint string `json:"endpoint,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

func (e *Engine) noteFile(target string) string {
	sum := sha256.Sum256([]byte(kernelPath(filepath.Clean(target))))
	return filepath.Join(e.dir(), "mounted", hex.EncodeToString(sum[:16])+".json")
}

// note keeps which volume is to be mounted at target. It counts while something is mounted there. A check's mounts end with it, and are not noted.
func (e *Engine) note(target string, v Volume) error {
	if e.Attached {
		return nil
	}
	file := e.noteFile(target)
	text, err := json.Marshal(noted{target, v.Kind, v.Source, v.Endpoint, v.ReadOnly})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil { // one at a time works on a target
		return err
	}
	return os.Rename(file+".new", file)
}

func (e *Engine) forgetNote(target string) { _ = os.Remove(e.noteFile(target)) }

// isOther is an error when the volume that is mounted at target is not v. Of what was mounted before volumes were noted nothing is known.
func (e *Engine) isOther(target string, v Volume) error {
	text, err := os.ReadFile(e.noteFile(target))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var there noted
	if err == nil {
		err = json.Unmarshal(text, &there)
	}
	if err != nil {
		return fmt.Errorf("which volume is mounted here is not to be read: %w", err)
	}
	if there.Kind == v.Kind && there.Source == v.Source && there.Endpoint == v.Endpoint && there.ReadOnly == v.ReadOnly {
		return nil
	}
	what := there.Source
	switch {
	case what == v.Source && there.ReadOnly:
		what += ", read-only,"
	case what == v.Source && v.ReadOnly:
		what += ", not read-only,"
	}
	return fmt.Errorf("%s is mounted in its place already: Kubernetes takes the two for one volume; give their PersistentVolumes different volumeHandles", what)
}
