package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/pai-storage/pai-storage/internal/client"
)

// words say what became of one field: what it has now, and what it had. ITEM is the value, or an item of a list, and NAME the thing. Without
// words nothing is said: the rest of the line tells it.
type words struct{ came, went string }

// auditWords are those of fields that say little as they are, by the kind of the thing and the field's path.
var auditWords = map[string]words{
	"group extension.acls.admin":           {"made the members of NAME administrators", "made the members of NAME administrators no more"},
	"group extension.acls.storageConfigs":  {"granted ITEM to NAME", "took ITEM from NAME"},
	"group extension.acls.virtualClusters": {"gave NAME the virtual cluster ITEM", "took the virtual cluster ITEM from NAME"},
	"user grouplist":                       {"added NAME to ITEM", "removed NAME from ITEM"},
	"user password":                        {came: "gave NAME another password"},
	"token application":                    {came: "for programs"},
	"token user":                           {"of ITEM", "of ITEM"},
	"storage deleted":                      {went: "deleted ITEM"},
	"storage kept":                         {went: "kept ITEM"},
	"storage volume":                       {came: "volume ITEM"}, // a removal says what became of it
	"storage declared":                     {went: "undid a declaration that was ITEM done"},
	"storage-password set":                 {"set at ITEM", "had been set at ITEM"},
	"storage-password user":                {},
	"job virtualCluster":                   {came: "in virtual cluster ITEM"},
	"job storages":                         {came: "mounts ITEM"},
	"job executionType":                    {went: "told it to ITEM"},
	"job record":                           {},
	"configuration lines":                  {"+ITEM", "-ITEM"},
	"configuration revision":               {},
	"configuration unified":                {},
	"configuration files":                  {came: "wrote ITEM"},
	"configuration unknown":                {came: "ITEM"},
	"service command":                      {"ITEM", "ITEM"},
	"service failed":                       {came: "failed: ITEM"},
	"node command":                         {},
	"node ran":                             {came: "ran ITEM"},
	"node failed":                          {came: "failed: ITEM"},
}

// changeText is what changed, in one line: in words where there are some, else each field with what it was and is.
func changeText(e client.AuditEntry) string {
	const most = 100
	var before, after any
	for raw, to := range map[*json.RawMessage]*any{&e.Before: &before, &e.After: &after} {
		if len(*raw) > 0 {
			_ = json.Unmarshal(*raw, to) // what cannot be read shows as nothing
		}
	}
	text := strings.Join(changes{e.Kind, e.Name}.of("", before, after), ", ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return text
}

// changes are those of one thing.
type changes struct{ kind, name string }

// of lists the differences of two JSON values, each with its path or in words.
func (c changes) of(at string, before, after any) []string {
	was, wasObject := before.(map[string]any)
	is, isObject := after.(map[string]any)
	if (wasObject || before == nil) && (isObject || after == nil) && (wasObject || isObject) {
		keys := maps.Clone(is)
		if keys == nil {
			keys = map[string]any{}
		}
		maps.Copy(keys, was)
		var out []string
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			out = append(out, c.of(strings.TrimPrefix(at+"."+key, "."), was[key], is[key])...)
		}
		return out
	}
	if w, known := auditWords[c.kind+" "+at]; known && !sameItems(before, after) {
		return c.inWords(w, itemsOf(before), itemsOf(after))
	}
	x, lists1 := before.([]any)
	y, lists2 := after.([]any)
	switch {
	case lists1 && lists2:
		return []string{at + listChange(x, y)}
	case before == nil && isEmpty(after), after == nil && isEmpty(before):
		return nil
	case before == nil:
		return []string{at + " = " + valueText(after)}
	case after == nil:
		return []string{at + " was " + valueText(before)}
	}
	return []string{at + " = " + valueText(before) + " -> " + valueText(after)}
}

// inWords says what went and what came.
func (c changes) inWords(w words, before, after []any) []string {
	var out []string
	say := func(format string, items, not []any) {
		for _, item := range items {
			if format != "" && !contains(not, item) {
				out = append(out, strings.NewReplacer("ITEM", plainText(item), "NAME", c.name).Replace(format))
			}
		}
	}
	say(w.went, before, after)
	say(w.came, after, before)
	return out
}

// itemsOf are the values of a field: the items of a list, itself, or none.
func itemsOf(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	if isEmpty(v) {
		return nil
	}
	return []any{v}
}

// sameItems tells whether two lists differ in their order alone.
func sameItems(before, after any) bool {
	x, lists1 := before.([]any)
	y, lists2 := after.([]any)
	return lists1 && lists2 && listChange(x, y) == otherOrder
}

func contains(list []any, item any) bool {
	return slices.ContainsFunc(list, func(other any) bool { return valueText(other) == valueText(item) })
}

// plainText is a value within words.
func plainText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return valueText(v)
}

// otherOrder is all that there is to say of lists with the same items.
const otherOrder = " in another order"

// listChange says what came and what went.
func listChange(before, after []any) string {
	text := ""
	for _, sign := range []struct {
		sign      string
		from, not []any
	}{{" -", before, after}, {" +", after, before}} {
		for _, item := range sign.from {
			if !contains(sign.not, item) {
				text += sign.sign + valueText(item)
			}
		}
	}
	if text == "" {
		return otherOrder
	}
	return text
}

// isEmpty: a field without a value is not worth a word where a thing is made or deleted.
func isEmpty(v any) bool {
	list, isList := v.([]any)
	return v == nil || v == "" || v == false || (isList && len(list) == 0)
}

func valueText(v any) string {
	if s, ok := v.(string); ok && s != "" && !strings.ContainsAny(s, " ,") {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(text)
}
