package jobspec

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// Rename returns the document with another job name and everything else as it stands, comments included: one
// file then serves for many runs, whose names must differ.
func Rename(document []byte, name pai.JobName) ([]byte, error) {
	document, err := yamltext.Text(document)
	if err != nil {
		return nil, fmt.Errorf("job document: %w", err)
	}
	file, err := parser.ParseBytes(document, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("job document: %w", yamltext.Syntax(err))
	}
	path, err := yaml.PathString("$.name")
	if err != nil {
		return nil, err
	}
	if _, err := path.FilterFile(file); err != nil {
		return nil, fmt.Errorf("job document: it has no name to replace")
	}
	if err := path.ReplaceWithReader(file, strings.NewReader(strconv.Quote(string(name)))); err != nil {
		return nil, fmt.Errorf("job document: %w", err)
	}
	return []byte(file.String()), nil
}
