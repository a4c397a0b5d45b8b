package schema

import "strings"

// countryCodes are the officially assigned codes of ISO 3166-1 alpha-2, sorted, a space after each: 249. A table of our own, because the
// region lists of the libraries also have codes that are withdrawn, reserved or in private use.
const countryCodes = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ " +
	"UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "

const countryLength = 2

// normaliseCountry upper-cases a code and looks it up.
func normaliseCountry(_ *Field, s string) (string, string) {
	if len(s) != countryLength || !asciiLetter(s[0]) || !asciiLetter(s[1]) {
		return "", RuleForm
	}
	s = strings.ToUpper(s)
	if !strings.Contains(countryCodes, s+" ") {
		return "", RuleUnassigned
	}
	return s, ""
}

// IsCountry reports whether s is an officially assigned code of ISO 3166-1 alpha-2, in capitals.
func IsCountry(s string) bool {
	upper, broken := normaliseCountry(nil, s)
	return broken == "" && upper == s
}

func asciiLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }
