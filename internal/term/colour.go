package term

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Colour is one of a terminal's.
type Colour string

// The colours that mean something: well, not well, wait.
const (
	Green  Colour = "32"
	Red    Colour = "31"
	Yellow Colour = "33"
)

// ColourWords is a writer to w that gives words between blanks a colour. What it writes stays as wide as it was. Where w is no terminal, or its user
// wants no colours ($NO_COLOR), it is w itself.
func ColourWords(w io.Writer, colours map[string]Colour) io.Writer {
	if !Is(w) || os.Getenv("NO_COLOR") != "" {
		return w
	}
	return newColoured(w, colours)
}

// coloured gives words their colour. A line has to be written at once, its words at least two blanks apart.
type coloured struct {
	to      io.Writer
	words   *regexp.Regexp
	colours map[string]Colour
}

func newColoured(w io.Writer, colours map[string]Colour) *coloured {
	var words []string
	for word := range colours {
		words = append(words, regexp.QuoteMeta(word))
	}
	slices.Sort(words)
	return &coloured{to: w, words: regexp.MustCompile(`(?m)(^|[ \t])(` + strings.Join(words, "|") + `)($|[ \t])`), colours: colours}
}

// Write is what io.Writer asks for.
func (c *coloured) Write(p []byte) (int, error) {
	text := c.words.ReplaceAllStringFunc(string(p), func(found string) string {
		word := strings.TrimSpace(found)
		before, after, _ := strings.Cut(found, word)
		return before + "\033[" + string(c.colours[word]) + "m" + word + "\033[0m" + after
	})
	if _, err := io.WriteString(c.to, text); err != nil {
		return 0, err
	}
	return len(p), nil
}
