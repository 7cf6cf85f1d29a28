package jobspec

import (
	"path"
	"strings"

	"github.com/goccy/go-yaml/ast"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// mounts are where the storages of a document are mounted.
type mounts struct {
	named map[string]ast.Node // by the list and the storage in it
	paths map[string]mounted  // by clean mount path
	above map[string]mounted  // by each directory over a mount path: one that lies in it
}

// mounted is one storage of a document.
type mounted struct {
	pai.WantedStorage
	at ast.Node
}

// add notes one more storage of a list. The same one twice is a fault, and so are mount paths that are equal or lie in each other.
func (m *mounts) add(r *reader, list, at string, n ast.Node, w pai.WantedStorage) {
	if m.named == nil {
		*m = mounts{map[string]ast.Node{}, map[string]mounted{}, map[string]mounted{}}
	}
	if w.MountPath == "" {
		w.MountPath = pai.DefaultMountPath(w.Name)
	}
	if w.Name == "" || pai.CheckMountPath(w.MountPath) != "" {
		return // which is a fault already
	}
	first := m.named[list+" "+string(w.Name)]
	switch other, clash := m.clash(path.Clean(w.MountPath)); {
	case first != nil:
		r.fault(n, at, "storage %s is mounted twice, first at %s", w.Name, yamltext.PositionOf(first))
	case clash && other.Name != w.Name:
		r.fault(n, at, "mount path %s clashes with %s of storage %s at %s: they must not be equal or lie in each other",
			w.MountPath, other.MountPath, other.Name, yamltext.PositionOf(other.at))
	}
	m.note(list, mounted{w, n})
}

// clash returns a storage that is mounted at a clean path, over it or in it.
func (m *mounts) clash(clean string) (mounted, bool) {
	if in, is := m.above[clean]; is {
		return in, true
	}
	for dir := range ancestors(clean) {
		if other, is := m.paths[dir]; is {
			return other, true
		}
	}
	other, is := m.paths[clean]
	return other, is
}

func (m *mounts) note(list string, x mounted) {
	clean := path.Clean(x.MountPath)
	m.named[list+" "+string(x.Name)], m.paths[clean] = x.at, x
	for dir := range ancestors(clean) {
		m.above[dir] = x
	}
}

// ancestors are the directories over a clean path, but for the root.
func ancestors(clean string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(clean, '/'); i > 0; i = strings.LastIndexByte(clean[:i], '/') {
			if !yield(clean[:i]) {
				return
			}
		}
	}
}
