package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// mostReport is how long a report may be: Kubernetes takes a ConfigMap of a MiB, with everything that is in it.
const mostReport = 768 << 10

// How long parts of a report may be.
const (
	longest      = 1000 // of messages
	longestName  = 200  // of a file that is not uploaded
	longestShort = 120  // of messages, where there are too many
	mostFiles    = 5    // that are not uploaded, of one mount
)

// clip shortens a text to so many bytes, and has it say so.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	text = text[:most]
	for !utf8.ValidString(text) && text != "" {
		text = text[:len(text)-1]
	}
	return text + "…"
}

// clipMounts shortens what programs and users made up.
func clipMounts(list []mount.Served) {
	for i := range list {
		m := &list[i]
		m.Fault = clip(string(bytes.ToValidUTF8([]byte(m.Fault), []byte("?"))), longest)
		m.Files = slices.Clone(m.Files[:min(len(m.Files), mostFiles)])
		for j, name := range m.Files {
			m.Files[j] = clip(string(bytes.ToValidUTF8([]byte(name), []byte("?"))), longestName)
		}
	}
}

// encode writes a report, or a part of one, as it is kept, without the detours that JSON in web pages needs.
func encode(part any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(part)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// fit writes a report in so many bytes. What is left out for that is among its faults.
func fit(r storagecheck.Report, most int) ([]byte, error) {
	text, err := encode(r)
	if err != nil || len(text) <= most {
		return text, err
	}
	r.Results, r.Mounts = maps.Clone(r.Results), slices.Clone(r.Mounts)
	faults := slices.Clone(r.Faults)
	var left []string
	cuts := []func(r *storagecheck.Report, over int) string{withoutFiles, withoutServing, withShortMessages, withFewMounts, withFewResults}
	for _, cut := range cuts {
		if what := cut(&r, len(text)-most); what != "" {
			left = append(left, what)
		}
		r.Faults = faults
		for _, what := range left {
			r.Faults = append(slices.Clip(r.Faults), "the report is too long, and has "+what)
		}
		if text, err = encode(r); err != nil || len(text) <= most {
			return text, err
		}
		for i, fault := range faults {
			faults[i] = clip(fault, longest)
		}
	}
	return nil, fmt.Errorf("it has %d bytes after everything was left out that can be", len(text))
}

func withoutFiles(r *storagecheck.Report, _ int) string {
	for i := range r.Mounts {
		r.Mounts[i].Files = nil
	}
	return "no names of files that are not uploaded"
}

// withoutServing leaves out mounts about which there is nothing to say.
func withoutServing(r *storagecheck.Report, _ int) string {
	before := len(r.Mounts)
	r.Mounts = slices.DeleteFunc(r.Mounts, func(m mount.Served) bool { return m.Alive && m.Fault == "" })
	if len(r.Mounts) == before {
		return ""
	}
	return fmt.Sprintf("not %s in good order", plural.Of(before-len(r.Mounts), "mount"))
}

func withShortMessages(r *storagecheck.Report, _ int) string {
	for name, x := range r.Results {
		x.Message = clip(x.Message, longestShort)
		r.Results[name] = x
	}
	for i := range r.Mounts {
		r.Mounts[i].Fault = clip(r.Mounts[i].Fault, longestShort)
	}
	return "messages in short"
}

func withFewMounts(r *storagecheck.Report, over int) string {
	before := len(r.Mounts)
	for over > -1000 && len(r.Mounts) > 0 {
		last := len(r.Mounts) - 1
		over -= size(r.Mounts[last])
		r.Mounts = r.Mounts[:last]
	}
	return fmt.Sprintf("not %d of %s in need of somebody", before-len(r.Mounts), plural.Of(before, "mount"))
}

func withFewResults(r *storagecheck.Report, over int) string {
	before := len(r.Results)
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(r.Results))) {
		if over <= -1000 {
			break
		}
		over -= size(r.Results[name])
		delete(r.Results, name)
	}
	return fmt.Sprintf("not the results of %d of %s", before-len(r.Results), plural.Of(before, "storage"))
}

// size is what a part of a report takes at least.
func size(part any) int {
	text, err := encode(part)
	if err != nil {
		return 0
	}
	return len(text)
}
