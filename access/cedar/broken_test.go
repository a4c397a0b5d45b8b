package cedar_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access/cedar"
)

// Who may not be told what a file says is told where it breaks which rule, whatever the file says there.
func TestRulesRepeatNothing(t *testing.T) {
	const said = "850312113646"
	for text, want := range map[string]string{
		`permit ` + said + `;`:                                                                "test.cedar:1:20: expected (",
		said + ` (principal, action, resource);`:                                              "test.cedar:1:14: a policy begins with permit or forbid",
		`"` + said + "\n" + `: want ("`:                                                       "test.cedar:1:1: a literal is not terminated",
		`@id("a") @id("` + said + `") permit`:                                                 "test.cedar:1:13: an annotation is there twice",
		`@id("\` + said + `") permit`:                                                         "test.cedar:1:5: a string has an escape that there is not",
		`@id("a") permit (principal, a` + said + `);`:                                         "test.cedar:1:42: expected action",
		`@id("a") permit (principal == "` + said + `");`:                                      "test.cedar:1:45: expected a name",
		when(`f` + said + `("x")`):                                                            "there is no such function",
		when(`{"` + said + `": 1, "` + said + `": 2} == 1`):                                   "a key is there twice",
		when(said + said + ` == 1`):                                                           "test.cedar: this is not Cedar",
		when(`context.a` + said + ` == 1`):                                                    "the schema has no such attribute",
		when(`context.count == "` + said + `"`):                                               "test.cedar:1: ",
		when(`context.count > {a` + said + `: 1}`):                                            "test.cedar:1: the type is not the one that is expected here",
		when(`ip("` + said + `").isLoopback()`):                                               "test.cedar:1: a constructor's literal is malformed",
		when(`principal in Role::"` + said + `"`):                                             "test.cedar:1: the schema has no such role, category, field or resource",
		`@id("` + said + `") permit (principal, action == Action::"` + said + `", resource);`: "test.cedar:1: the schema has no such action",
		`@id("a") permit (principal is A` + said + `, action, resource);`:                     "test.cedar:1: the schema has no such type",
		strings.Repeat(`@id("`+said+`") permit (principal, action, resource);`+"\n", 2):       "test.cedar:2: the @id is taken at test.cedar:1",
	} {
		_, err := cedar.Compile(map[string][]byte{"test.cedar": []byte(text)}, options())
		broken, ok := errors.AsType[cedar.Broken](err)
		if !ok {
			t.Errorf("%s: %v", text, err)
			continue
		}
		rules := strings.Join(broken.Rules(), "\n")
		if !strings.Contains(rules, want) || strings.Contains(rules, said) {
			t.Errorf("%s:\ntold %s\nwant %s", text, rules, want)
		}
	}
}

func when(condition string) string {
	return `@id("a") permit (principal, action, resource) when { ` + condition + ` };`
}
