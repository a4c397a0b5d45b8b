package schema

// The rules a value can break, as they stand in answers of the API. The type iin adds those of the package iin. Where the rule is about one
// part of an address the part's name stands before it: "kato.ascii_digits".
const (
	RuleUTF8       = "utf8"         // not valid UTF-8
	RuleEmpty      = "empty"        // nothing there, or nothing but space
	RuleText       = "text"         // parts were given and the type has none
	RuleParts      = "parts"        // a part whose name the type does not know
	RuleLength     = "length"       // too long or too short
	RuleControls   = "controls"     // a control character, a bidirectional control, or one that cannot be seen
	RuleLetters    = "letters"      // of a name: a character that is no letter, mark, single space, hyphen or apostrophe
	RuleDigits     = "ascii_digits" // a character that is not one of 0–9 where digits are demanded
	RuleCharacters = "characters"   // a character the type does not allow
	RuleForm       = "form"         // the right characters in an order that makes no value of the type
	RulePlan       = "plan"         // of a phone: not a number of its country's numbering plan
	RuleLocalPart  = "local_part"   // of an e-mail address: what stands before the @
	RuleDomain     = "domain"       // of an e-mail address: what stands after the @
	RuleUnassigned = "unassigned"   // of a country: the code stands for none
	RuleToken      = "token"        // one of the vault's own tokens, sent as if it were a value
	RuleDate       = "date"         // a day that does not exist, or outside 1800 to 2200
)
