package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"ms2m.dev/ms2m/test/eval/report"
)

// list is a flag of values with commas between.
type list[T any] struct {
	values []T
	parse  func(string) (T, error)
}

func (l *list[T]) String() string {
	if l == nil {
		return ""
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(l.values), " ", ","), "[]")
}

func (l *list[T]) Set(text string) error {
	l.values = nil
	if text == "" {
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		v, err := l.parse(one)
		if err != nil {
			return err
		}
		l.values = append(l.values, v)
	}
	return nil
}

func rate(text string) (float64, error) {
	r, err := strconv.ParseFloat(text, 64)
	if err == nil && !(r > 0 && r <= 100_000) {
		err = errors.New("a rate must be above 0 and at most 100000 messages per second")
	}
	return r, err
}

// number is a parser of whole numbers.
func number(what string, least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err == nil && (n < least || n > most) {
			err = fmt.Errorf("%s must be from %d to %d", what, least, most)
		}
		return n, err
	}
}

func way(text string) (report.Way, error) {
	if !slices.Contains(report.Ways(), report.Way(text)) {
		return "", fmt.Errorf("%q is no way: %v", text, report.Ways())
	}
	return report.Way(text), nil
}

const (
	// The consumers of the published experiments.
	quickWork = 10 * time.Millisecond
	slowWork  = 50 * time.Millisecond
	// memoryRate is at which sizes of the memory are compared: what there is to replay
	// is little, whatever the size.
	memoryRate = 20
	// scaleRate is that of each of many services.
	scaleRate = 3
)

// cases are what is measured in each round.
func (o options) cases() []report.Case {
	var all []report.Case
	add := func(part report.Part, ways []report.Way, c report.Case) {
		for _, w := range ways {
			c.Part, c.Way = part, w
			all = append(all, c)
		}
	}
	for _, r := range o.rates.values {
		add(report.Rates, o.ways.values, report.Case{Rate: r, Work: quickWork, Ballast: o.ballast, Services: 1})
	}
	for _, r := range o.slow.values {
		add(report.Rates, o.ways.values, report.Case{Rate: r, Work: slowWork, Ballast: o.ballast, Services: 1})
	}
	for _, size := range o.memory.values {
		add(report.Memory, o.more.values, report.Case{Rate: memoryRate, Work: quickWork, Ballast: size, Services: 1})
	}
	for _, r := range o.fast.values {
		add(report.Fast, o.more.values, report.Case{Rate: r, Ballast: o.ballast, Services: 1})
	}
	for _, n := range o.scale.values {
		add(report.Scale, []report.Way{report.Pod}, report.Case{Rate: scaleRate, Work: quickWork, Ballast: o.ballast, Services: n})
	}
	return all
}

// sizes are those of the memory that the floor is measured with.
func (o options) sizes() []int {
	var all []int
	for _, c := range o.cases() {
		if c.Part != report.Scale {
			all = append(all, c.Ballast)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// planned is the number of runs.
func (o options) planned() int {
	n := 0
	for _, c := range o.cases() {
		n += c.Services
	}
	return n * o.repeats
}

// order is every case in every round, the rounds one after the other, each shuffled:
// what happens on the machine meanwhile hits the ways alike.
func (o options) order() [][]report.Case {
	random := rand.New(rand.NewPCG(o.seed, 0))
	var rounds [][]report.Case
	for range o.repeats {
		round := o.cases()
		random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		rounds = append(rounds, round)
	}
	return rounds
}
