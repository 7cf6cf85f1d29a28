package clusterconfig

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// secretKeys are the ends of keys whose values are passwords, in any case.
const secretKeys = `(?i:password|passwd|pwd|passphrase|secret|secret[-_]?key|access[-_]?key|account[-_]?key|api[-_]?key|private[-_]?key|token|connectionstring|credentials?)`

var (
	// secretLine is a line with the value of such a key, be it commented out or the first of a list's item.
	secretLine = regexp.MustCompile(`^(\s*(?:#\s*)*(?:-\s+)?["']?[A-Za-z0-9_.-]*?` + secretKeys + `["']?\s*:[ \t]+)(\S.*?)(\r?)$`)

	// secretComment is a comment, behind something or alone, with such a key and its value in it. What follows it is taken for the value.
	secretComment = regexp.MustCompile(`^((?:|.*?\s)#.*?` + secretKeys + `["']?\s*:[ \t]*)([^\s:].*?)(\r?)$`)

	// secretOpens is a comment with such a key, whose value is in the comments after it.
	secretOpens = regexp.MustCompile(`^(\s*#\s*)(?:-\s+)?["']?[A-Za-z0-9_.-]*?` + secretKeys + `["']?\s*:[ \t]*[|>]?[-+0-9]*\s*$`)

	commentLine = regexp.MustCompile(`^(\s*#\s*)(\S.*?)(\r?)$`)

	// emptyComment is a line with nothing in it. It ends nothing.
	emptyComment = regexp.MustCompile(`^\s*#?\s*$`)

	// anyPair is a key with a value on its line.
	anyPair = regexp.MustCompile(`^(\s*(?:#\s*)*(?:-\s+)?["']?([A-Za-z0-9_.-]+)["']?\s*:[ \t]+)(\S.*?)(\r?)$`)

	// mentionsSecret is a line with such a key anywhere in it: it is not quoted.
	mentionsSecret = regexp.MustCompile(secretKeys + `["']?\s*:`)

	// tellsSecret is a line that has such a key and a value.
	tellsSecret = regexp.MustCompile(secretKeys + `["']?\s*:(?:[ \t]+["']?|["'])([^\s"'|>#&*!{[$]|\$[^{])`)

	// keyOfSecret is the whole key of a secret value.
	keyOfSecret = regexp.MustCompile(secretKeys + `$`)
)

// secretNames are the section's own keys of passwords. What is typed almost like one is meant to be it.
var secretNames = []string{"smbpwd", "domainpwd"}

// byteOrderMark is what some editors begin a file with.
const byteOrderMark = "\uFEFF"

// placeholder stands for the rest of a line.
func placeholder(n int) string { return fmt.Sprintf("${secret:%d}", n) }

var anyPlaceholder = regexp.MustCompile(`\$\{secret:\d+\}`)

// hidesSecret tells whether a line may have a password in it: it has such a key, or one that is most likely a misspelt one.
func hidesSecret(line string) bool {
	if mentionsSecret.MatchString(line) {
		return true
	}
	m := anyPair.FindStringSubmatch(line)
	return m != nil && misspelt(m[2])
}

// misspelt tells whether a key is most likely meant to be that of a password.
func misspelt(key string) bool { return yamltext.Nearest(strings.ToLower(key), secretNames) != "" }

// takeOut parts a line before and after the password in it. ok tells whether there is one.
func takeOut(line string) (before, password, after string, ok bool) {
	for _, form := range []*regexp.Regexp{secretLine, secretComment} {
		if m := form.FindStringSubmatch(line); m != nil {
			return m[1], m[2], m[3], true
		}
	}
	if m := anyPair.FindStringSubmatch(line); m != nil && misspelt(m[2]) {
		return m[1], m[3], m[4], true
	}
	return "", "", "", false
}

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
	take := func(i int, before, password, after string) {
		lines[i] = before + placeholder(len(secrets)) + after
		secrets = append(secrets, password)
	}
	below := -1 // comments that are indented deeper than this belong to a password
	for i, line := range lines {
		if below >= 0 {
			if emptyComment.MatchString(line) {
				continue
			}
			if m := commentLine.FindStringSubmatch(line); m != nil && len(m[1]) > below {
				take(i, m[1], m[2], m[3])
				continue
			}
			below = -1
		}
		if m := secretOpens.FindStringSubmatch(line); m != nil {
			below = len(m[1])
			continue
		}
		before, password, after, ok := takeOut(line)
		switch {
		case !ok:
		case strings.ContainsAny(password[:1], "*&") && !strings.Contains(before, "#"):
			faults.Add(Fault{File: name, Line: i + 1, Column: len(before) + 1, Text: "a password that begins with * or & has to be in single quotes: YAML reads it as a name for another value"})
		case strings.ContainsAny(password[:1], "|>"):
			faults.Add(Fault{File: name, Line: i + 1, Column: len(before) + 1, Text: "a password has to be on the line of its key"})
		default:
			take(i, before, password, after)
		}
	}
	for i, line := range lines {
		if at := tellsSecret.FindStringIndex(line); at != nil {
			faults.Add(Fault{File: name, Line: i + 1, Column: at[0] + 1, Text: "a password seems to stand in the middle of this line: write it on one line of its own, after its key"})
		}
	}
	public = []byte(strings.Join(lines, "\n"))
	if marked {
		public = append([]byte(byteOrderMark), public...)
	}
	if len(faults.List) == 0 && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")) {
		remaining(name, public, faults)
	}
	if err := faults.Err(); err != nil {
		return nil, nil, err
	}
	return public, secrets, nil
}

// remaining finds passwords that are still there, wherever YAML allows them to be. A file that is no YAML cannot be judged.
func remaining(name string, public []byte, faults *Faults) {
	d := parse(name, public, faults)
	if d == nil || d.root.node == nil {
		return
	}
	yamltext.Visit(d.root.node, func(n ast.Node) {
		pair, ok := n.(*ast.MappingValueNode)
		if !ok {
			return
		}
		key, _ := yamltext.KeyText(pair.Key)
		if !keyOfSecret.MatchString(key) {
			return
		}
		v := value{place: d.at(pair.Key), node: pair.Value, key: key}
		for _, below := range valuesBelow(pair.Value) {
			if tellsText(below) && !v.faulty() {
				v.fault("%s is a password: write it on one line of its own, after its key", v.key)
			}
		}
	})
	yamltext.Visit(d.root.node, func(n ast.Node) {
		if block, ok := n.(*ast.LiteralNode); ok && block.Value != nil && opensInBlock.MatchString(block.Value.Value) {
			d.at(n).fault("a password seems to stand in this text, below its key: write it on the line of its key")
		}
	})
}

// opensInBlock is a key of a password with nothing behind it, and something deeper below it.
var opensInBlock = regexp.MustCompile(`(?m)` + secretKeys + `["']?[ \t]*:[ \t]*\n[ \t]+[^\s#]`)

// valuesBelow are the values in a node: no keys.
func valuesBelow(n ast.Node) []ast.Node {
	var list []ast.Node
	switch x := n.(type) {
	case nil:
	case *ast.MappingNode:
		for _, pair := range x.Values {
			list = append(list, valuesBelow(pair.Value)...)
		}
	case *ast.MappingValueNode:
		list = valuesBelow(x.Value)
	case *ast.SequenceNode:
		for _, item := range x.Values {
			list = append(list, valuesBelow(item)...)
		}
	case *ast.AnchorNode:
		list = valuesBelow(x.Value)
	case *ast.TagNode:
		list = valuesBelow(x.Value)
	default:
		list = []ast.Node{n}
	}
	return list
}

// tellsText tells whether a node is a text or a number that is no placeholder, or stands for one.
func tellsText(n ast.Node) bool {
	switch x := n.(type) {
	case *ast.AliasNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return true
	case *ast.StringNode:
		return x.Value != "" && anyPlaceholder.ReplaceAllString(x.Value, "") != ""
	}
	return false
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
