package clusterconfig

import (
	"slices"
	"strings"
)

// withheld stands for a file whose passwords cannot be told from the rest.
const withheld = "(not shown: a password in it is not on one line of its own)\n"

// Mask is two states of a file as they may be shown: each password is "******", and "****** (changed)" in the later one where it is another than in
// the earlier. Passwords belong together when the texts before them on their lines are the same.
func Mask(name string, before, after []byte) (shownBefore, shownAfter []byte) {
	publicBefore, old, err1 := Split(name, before)
	publicAfter, now, err2 := Split(name, after)
	oldKeys, newKeys := secretsByLine(publicBefore, old), secretsByLine(publicAfter, now)
	shown := func(public []byte, err error, secrets []string, changed func(prefix string, n int) bool) []byte {
		if err != nil {
			return []byte(withheld)
		}
		list := make([]string, 0, len(secrets))
		seen := map[string]int{}
		for _, prefix := range beforeSecrets(public) {
			text := masked
			if changed(prefix, seen[prefix]) {
				text += " (changed)"
			}
			seen[prefix]++
			list = append(list, text)
		}
		return Join(public, list)
	}
	shownBefore = shown(publicBefore, err1, old, func(string, int) bool { return false })
	shownAfter = shown(publicAfter, err2, now, func(prefix string, n int) bool {
		was, is := oldKeys[prefix], newKeys[prefix]
		switch {
		case len(was) == 0:
			return false
		case len(was) == len(is):
			return was[n] != is[n]
		default: // some came or went: which they were is not to be told
			return !slices.Contains(was, is[n])
		}
	})
	if err1 != nil && err2 != nil && string(before) != string(after) {
		shownAfter = append(shownAfter, "(changed)\n"...)
	}
	return shownBefore, shownAfter
}

// beforeSecrets are the texts before the placeholders on their lines, in the order of the placeholders.
func beforeSecrets(public []byte) []string {
	var list []string
	for line := range strings.Lines(string(public)) {
		if at := anyPlaceholder.FindStringIndex(line); at != nil {
			list = append(list, line[:at[0]])
		}
	}
	return list
}

// secretsByLine sorts passwords by what stands before them.
func secretsByLine(public []byte, secrets []string) map[string][]string {
	sorted := map[string][]string{}
	for n, prefix := range beforeSecrets(public) {
		if n < len(secrets) {
			sorted[prefix] = append(sorted[prefix], secrets[n])
		}
	}
	return sorted
}
