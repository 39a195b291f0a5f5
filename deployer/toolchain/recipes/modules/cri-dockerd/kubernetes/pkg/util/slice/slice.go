package slice

import "slices"

// ContainsString says whether the text is in the list; nobody gives a modifier.
func ContainsString(list []string, text string, _ func(string) string) bool {
	return slices.Contains(list, text)
}
