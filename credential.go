package pai

import "regexp"

// What people write into addresses although it is secret.
var (
	passwordInAddress  = regexp.MustCompile(`(^|//)[^/@\s:]+:[^/@\s]*@`) // before the host
	signatureInAddress = regexp.MustCompile(`(?i)([?&](sig|[^=&?\s]*(pass|secret|key|token|credential|signature)[^=&?\s]*)=)[^&\s]+`)
)

// WithoutCredentials returns a text without the passwords and signatures of the addresses in it.
func WithoutCredentials(text string) string {
	text = passwordInAddress.ReplaceAllString(text, "$1")
	return signatureInAddress.ReplaceAllString(text, "${1}(withheld)")
}
