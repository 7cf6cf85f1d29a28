package clusterconfig

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// secretKeys are the ends of keys whose values are passwords, in lower case and without '-' and '_'.
const secretKeys = `password|passwd|pwd|passphrase|secret|secretkey|accesskey|accountkey|apikey|privatekey|token|connectionstring|credential|credentials`

// secretLine is a line with the value of such a key, be it commented out or the first of a list's item.
var secretLine = regexp.MustCompile(`^(\s*(?:#\s*)*(?:-\s+)?["']?[A-Za-z0-9_.-]*?(?i:` + strings.ReplaceAll(secretKeys, "secretkey|accesskey|accountkey|apikey|privatekey|", `secret[-_]?key|access[-_]?key|account[-_]?key|api[-_]?key|private[-_]?key|`) + `)["']?\s*:[ \t]+)([^\s#].*?)(\r?)$`)

// mentionsSecret is a line with such a key anywhere in it: it is not quoted.
var mentionsSecret = regexp.MustCompile(`(?i)(?:` + strings.NewReplacer("secretkey", "secret[-_]?key", "accesskey", "access[-_]?key", "accountkey", "account[-_]?key", "apikey", "api[-_]?key", "privatekey", "private[-_]?key").Replace(secretKeys) + `)["']?\s*:`)

// byteOrderMark is what some editors begin a file with.
const byteOrderMark = "\uFEFF"

// placeholder stands for the rest of a line.
func placeholder(n int) string { return fmt.Sprintf("${secret:%d}", n) }

var anyPlaceholder = regexp.MustCompile(`\$\{secret:\d+\}`)

// Split takes the passwords out of a file: what is left, with a placeholder for each, and the passwords in the order of the placeholders. What
// it cannot take out for sure, such as a password over several lines, is a fault. [Join] is its opposite, to the byte.
func Split(name string, text []byte) (public []byte, secrets []string, err error) {
	faults := &Faults{}
	if m := anyPlaceholder.FindIndex(text); m != nil {
		line := 1 + strings.Count(string(text[:m[0]]), "\n")
		faults.Add(Fault{File: name, Line: line, Column: 1, Text: "a text like ${secret:1} stands for a password that was taken out: write the password"})
		return nil, nil, faults.Err()
	}
	// A byte order mark is no part of the first line; it stays before it.
	rest, marked := strings.CutPrefix(string(text), byteOrderMark)
	lines := strings.Split(rest, "\n")
	for i, line := range lines {
		m := secretLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if strings.ContainsAny(m[2][:1], "|>") {
			faults.Add(Fault{File: name, Line: i + 1, Column: len(m[1]) + 1, Text: "a password has to be on the line of its key"})
			continue
		}
		lines[i] = m[1] + placeholder(len(secrets)) + m[3]
		secrets = append(secrets, m[2])
	}
	public = []byte(strings.Join(lines, "\n"))
	if marked {
		public = append([]byte(byteOrderMark), public...)
	}
	if strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		remaining(name, public, faults)
	}
	if err := faults.Err(); err != nil {
		return nil, nil, err
	}
	return public, secrets, nil
}

// keyOfSecret is the whole key of a secret value.
var keyOfSecret = regexp.MustCompile(`(?i)(?:` + strings.NewReplacer("secretkey", "secret[-_]?key", "accesskey", "access[-_]?key", "accountkey", "account[-_]?key", "apikey", "api[-_]?key", "privatekey", "private[-_]?key").Replace(secretKeys) + `)$`)

// remaining finds passwords that are still there, wherever YAML allows them to be. A file that is no YAML cannot be judged.
func remaining(name string, public []byte, faults *Faults) {
	d := parse(name, public, faults)
	if d == nil || d.root.node == nil {
		return
	}
	yamltext.Visit(d.root.node, func(n ast.Node) {
		pair, ok := n.(*ast.MappingValueNode)
		if !ok || pair.Key == nil || pair.Key.GetToken() == nil || !keyOfSecret.MatchString(pair.Key.GetToken().Value) {
			return
		}
		v := value{place: d.at(pair.Key), node: pair.Value, key: pair.Key.GetToken().Value}
		switch x := v.resolved().(type) {
		case nil, *ast.NullNode, *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.BoolNode, *ast.CommentGroupNode:
			return
		case *ast.StringNode:
			if anyPlaceholder.MatchString(x.Value) && anyPlaceholder.ReplaceAllString(x.Value, "") == "" {
				return
			}
		}
		v.fault("%s is a password: write it on one line of its own, after its key", v.key)
	})
}

// Join puts passwords back into what [Split] left.
func Join(public []byte, secrets []string) []byte {
	var n int
	return anyPlaceholder.ReplaceAllFunc(public, func(found []byte) []byte {
		if n < len(secrets) && string(found) == placeholder(n) {
			n++
			return []byte(secrets[n-1])
		}
		return found
	})
}

// Placeholders counts the passwords that were taken out of a file.
func Placeholders(public []byte) int { return len(anyPlaceholder.FindAll(public, -1)) }
