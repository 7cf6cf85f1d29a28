package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
)

// baseFile notes in a directory what its files were made from. It has no text of theirs.
const baseFile = ".paictl-base"

// Base is the state of the cluster that a directory was pulled from.
type Base struct {
	ClusterID string            `json:"clusterId"`
	Revision  string            `json:"revision"`
	Files     map[string]string `json:"files"` // fingerprints without passwords, to notice changes that were not pushed
	// Behind are files that the last push left out, and that were not as the cluster had them: Revision says nothing about these.
	Behind []string `json:"behind,omitempty"`
}

// maxFiles bounds a directory: somebody may have named the wrong one.
const maxFiles = 100

// Names of files, in order.
func Names(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }

// ReadDirectory reads the YAML files of a directory, and what it was pulled from, if it was.
func ReadDirectory(dir string) (map[string][]byte, Base, error) {
	base, err := readBase(dir)
	if err != nil {
		return nil, base, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, base, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if strings.HasSuffix(e.Name(), ".yml") && !e.IsDir() {
			return nil, base, fmt.Errorf("%s: the files of a configuration end with .yaml; call it %s.yaml", filepath.Join(dir, e.Name()), strings.TrimSuffix(e.Name(), ".yml"))
		}
		if !strings.HasSuffix(e.Name(), ".yaml") {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name())) // what a link leads to
		if err != nil {
			return nil, base, err
		}
		if !info.Mode().IsRegular() {
			return nil, base, fmt.Errorf("%s is no file", filepath.Join(dir, e.Name()))
		}
		if len(files) == maxFiles {
			return nil, base, fmt.Errorf("%s has more than %d YAML files: is it the right directory?", dir, maxFiles)
		}
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, base, err
		}
	}
	if len(files) == 0 {
		return nil, base, fmt.Errorf("%s has no YAML files: pull the configuration first (paictl config pull -o %s)", dir, dir)
	}
	return files, base, nil
}

func readBase(dir string) (Base, error) {
	var base Base
	text, err := os.ReadFile(filepath.Join(dir, baseFile))
	if errors.Is(err, fs.ErrNotExist) {
		return base, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &base)
	}
	if err != nil {
		return base, fmt.Errorf("%s: %w; pull again into another directory", filepath.Join(dir, baseFile), err)
	}
	return base, nil
}

// WriteDirectory writes a snapshot, for its owner's eyes only, and removes files that others have removed from the cluster since. Files that were edited
// since they were pulled are left alone, unless forced.
func WriteDirectory(dir string, s Snapshot, clusterID string, force bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	base, err := readBase(dir)
	if err != nil && !force {
		return err
	}
	var edited, gone []string
	for name, was := range base.Files { // others have removed it since
		if _, is := s.Files[name]; is || filepath.Base(name) != name {
			continue
		}
		there, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		gone = append(gone, name)
		if was != printOf(name, there) {
			edited = append(edited, name)
		}
	}
	for name, text := range s.Files {
		if filepath.Base(name) != name || strings.HasPrefix(name, ".") {
			return fmt.Errorf("the cluster's configuration has a file with the name %q", name)
		}
		there, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(there) == string(text) {
			continue
		}
		// Where only passwords differ, it may be an edit on either side: then it counts as one here.
		if was := base.Files[name]; was == "" || was != printOf(name, there) || was == printOf(name, text) {
			edited = append(edited, name)
		}
	}
	if len(edited) > 0 && !force {
		slices.Sort(edited)
		return fmt.Errorf("%s was changed here and not pushed: push it, say --force to overwrite it, or pull into another directory", strings.Join(edited, ", "))
	}
	for _, name := range Names(s.Files) {
		if err := renameio.WriteFile(filepath.Join(dir, name), s.Files[name], 0o600); err != nil {
			return err
		}
	}
	for _, name := range gone {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return NoteBase(dir, Base{ClusterID: clusterID, Revision: s.Revision}, s.Files)
}

// Removed are the names that the cluster has before, and not after.
func Removed(before, after map[string][]byte) []string {
	removed := []string{}
	for _, name := range Names(before) {
		if _, is := after[name]; !is {
			removed = append(removed, name)
		}
	}
	return removed
}

// NoteBase notes that a directory has what the cluster has.
func NoteBase(dir string, base Base, files map[string][]byte) error {
	base.Files = map[string]string{}
	for name, text := range files {
		base.Files[name] = printOf(name, text)
	}
	text, err := json.MarshalIndent(base, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, baseFile), append(text, '\n'), 0o600)
}

// printOf tells files apart. Passwords are left out: a fingerprint of a short one could be guessed.
func printOf(name string, text []byte) string {
	public, _, err := clusterconfig.Split(name, text)
	if err != nil {
		return "" // it cannot be pushed either
	}
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:16])
}
