// Package plural writes numbers of things for people: "1 job", "3 jobs".
//
// Example:
//
//	plural.Of(len(jobs), "job")
package plural

import "fmt"

// Of is a number with the thing that is counted, which is given as one of it and takes an "s" when there are several.
func Of[N ~int | ~int64](n N, one string) string {
	return fmt.Sprintf("%d %s", n, Word(n, one))
}

// Word is the thing alone, as it stands behind that number.
func Word[N ~int | ~int64](n N, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}
