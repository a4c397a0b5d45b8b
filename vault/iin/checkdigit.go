package iin

// modulus is that of the check; a sum equal to noDigit modulo it has no digit to stand for it.
const (
	modulus = 11
	noDigit = modulus - 1
)

// The weights of the first eleven digits: the second row is used only where the first gives noDigit.
var weights = [2][length - 1]int{
	{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
	{3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2},
}

// CheckDigit returns the ASCII digit that completes the first eleven of a number, and false when there is none: such a number was never
// issued. It also returns false for anything but eleven ASCII digits.
func CheckDigit(first11 string) (byte, bool) {
	if len(first11) != length-1 || !digits(first11) {
		return 0, false
	}
	for _, row := range weights {
		sum := 0
		for i, weight := range row {
			sum += int(first11[i]-'0') * weight
		}
		if rest := sum % modulus; rest != noDigit {
			return byte('0' + rest), true
		}
	}
	return 0, false
}
