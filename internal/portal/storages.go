package portal

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// storagesData is the page of storages.
type storagesData struct {
	Caller   pai.Caller
	Storages []pai.Storage
	Usable   []pai.Storage // the ones for the example
}

func (p *Portal) storages(w http.ResponseWriter, r *http.Request) (err error) {
	var data storagesData
	if data.Caller, err = pai.CallerFrom(r.Context()); err != nil {
		return err
	}
	if data.Storages, err = p.services.Storages.Storages(r.Context()); err != nil {
		return err
	}
	for _, s := range data.Storages {
		// Administrators see storages that they may not mount; their defaults are theirs for certain.
		if s.Usable() && (s.Default || !data.Caller.Admin) {
			data.Usable = append(data.Usable, s)
		}
	}
	return p.render(w, http.StatusOK, "storages.html", data)
}

// where says in one line where a storage is.
func where(s pai.Storage) string {
	d := s.Data
	switch {
	case s.Type == pai.StorageNFS && d["server"] != "":
		return d["server"] + ":" + d["path"]
	case s.Type == pai.StorageSamba:
		return d["address"]
	case s.Type == pai.StorageHostPath, s.Type == pai.StorageLocal:
		return d["path"]
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(d)) {
		parts = append(parts, key+" "+d[key])
	}
	return strings.Join(parts, ", ")
}

// plainText is what YAML reads as text without quotes, but for the words of yamlWords.
var plainText = regexp.MustCompile(`^(/mnt/)?[a-z][a-z0-9.-]*$`)

var yamlWords = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// yamlText writes a name or a mount path so that YAML reads it as one text.
func yamlText(s string) string {
	if plainText.MatchString(s) && !slices.Contains(yamlWords, s) {
		return s
	}
	return strconv.Quote(s)
}
