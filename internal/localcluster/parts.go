package localcluster

import (
	"strings"
	"sync"
)

// parts joins the notes of things that go on at the same time into one line.
type parts struct {
	mu    sync.Mutex
	names []string
	texts map[string]string
	note  func(string)
}

func newParts(note func(string)) *parts { return &parts{texts: map[string]string{}, note: note} }

// part is the note function of one of them.
func (p *parts) part(name string) func(string) {
	return func(text string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, known := p.texts[name]; !known {
			p.names = append(p.names, name)
		}
		p.texts[name] = text
		var line []string
		for _, n := range p.names {
			line = append(line, n+": "+p.texts[n])
		}
		p.note(strings.Join(line, " · "))
	}
}
