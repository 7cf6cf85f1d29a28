package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// hider takes secrets out of texts.
type hider struct{ replace *strings.Replacer }

// signature is the part of a URL that grants access; libraries quote whole URLs in their errors.
var signature = regexp.MustCompile(`(?i)\b(sig|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token)=[^&\s"']+`)

// newHider hides the values of a secret in every form in which they travel. Names of accounts are no secret, and are what people look for.
func newHider(s mount.Secret) hider {
	var words []string
	add := func(v string) {
		if v = strings.TrimSpace(v); len(v) >= 4 {
			words = append(words, v, url.QueryEscape(v), url.PathEscape(v))
		}
	}
	for key, value := range s {
		if key == "accountname" {
			continue
		}
		add(value)
		add(strings.TrimPrefix(value, "?"))
		if parts, err := url.ParseQuery(strings.TrimPrefix(value, "?")); err == nil && parts.Get("sig") != "" {
			add(parts.Get("sig"))
		}
	}
	// The longest first: a part must not break the whole.
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, w := range slices.Compact(words) {
		pairs = append(pairs, w, "[redacted]")
	}
	return hider{strings.NewReplacer(pairs...)}
}

func (h hider) from(text string) string {
	return signature.ReplaceAllString(h.replace.Replace(text), "$1=[redacted]")
}

// logger writes what the library says, one line each, and remembers the last upload that did not work.
type logger struct {
	out  io.Writer
	hide hider

	mu    sync.Mutex
	fault string
}

// failedUpload is how the library begins its message about one.
const failedUpload = "vfs cache: failed to upload"

func (l *logger) write(level slog.Level, text string) {
	text = l.hide.from(strings.Join(strings.Fields(text), " "))
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := strings.Index(text, failedUpload); at >= 0 {
		l.fault = clip(text[at+len("vfs cache: "):])
	}
	fmt.Fprintf(l.out, "%s %s\n", time.Now().UTC().Format(time.RFC3339), text)
}

func (l *logger) printf(format string, args ...any) {
	l.write(slog.LevelInfo, fmt.Sprintf(format, args...))
}

func (l *logger) lastFault() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func clip(text string) string {
	const most = 500
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
