package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/plural"
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

// repeatTime is how long the same message is not written again.
const repeatTime = 10 * time.Minute

// varying are the parts of messages that differ from one time to the next, and say nothing.
var varying = regexp.MustCompile(`(?i)try #\d+, will retry in [^ :]+|retry \d+/\d+|(RequestID|HostID|RequestId|x-ms-request-id|Time)[:=] ?[^ ,<]*|:\d+->|after \d+ attempts`)

// logger writes what the library says, one line each, and remembers the last upload that did not work, and what the store refuses for good.
type logger struct {
	out  io.Writer
	hide hider

	mu      sync.Mutex
	fault   string
	refused map[string]refusal // by name
	last    bool               // tries are last ones
	said    map[string]*saying
}

// saying is a message that was written.
type saying struct {
	at   time.Time
	more int // times that it was not, since
}

// failedUpload is how the library begins its message about one.
const failedUpload = "vfs cache: failed to upload"

func (l *logger) write(_ slog.Level, text string) {
	text = l.hide.from(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := failure.FindStringSubmatch(strings.TrimSpace(text)); found != nil {
		l.failed(found[1], found[2], found[3])
	}
	text = oneLine(text)
	if at := strings.Index(text, failedUpload); at >= 0 {
		l.fault = clip(text[at+len("vfs cache: "):])
	}
	now := time.Now()
	key := varying.ReplaceAllString(text, "#")
	before := l.said[key]
	switch {
	case before != nil && now.Sub(before.at) < repeatTime:
		before.more++
		return
	case before != nil && before.more > 0:
		text += fmt.Sprintf(" (and %s more since %s)", plural.Of(before.more, "time"), before.at.UTC().Format(time.RFC3339))
	}
	const most = 2000
	if l.said == nil || len(l.said) >= most {
		l.said = map[string]*saying{}
	}
	l.said[key] = &saying{at: now}
	fmt.Fprintf(l.out, "%s %s\n", now.UTC().Format(time.RFC3339), text)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// failed counts refusals in a row. Each other failure, and each success, after which the library counts tries anew, ends the row.
func (l *logger) failed(name, number, why string) {
	if !refuses(why) {
		delete(l.refused, name)
		return
	}
	try, _ := strconv.Atoi(number)
	r := l.refused[name]
	if try != r.try+1 {
		r = refusal{}
	}
	if l.refused == nil {
		l.refused = map[string]refusal{}
	}
	l.refused[name] = refusal{why: clip(oneLine(why)), try: try, times: r.times + 1, last: l.last}
}

// refusal is what is known of a file that the store refuses; zero when it does not.
func (l *logger) refusal(name string) refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused[l.hide.from(name)]
}

// lastTries says that tries from now on are last ones.
func (l *logger) lastTries() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = true
}

// forget drops what is known of files that wait no longer.
func (l *logger) forget(waits func(name string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.refused {
		if !waits(name) {
			delete(l.refused, name)
		}
	}
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
