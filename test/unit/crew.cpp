// Plays a crew through phases of a machine: crew MOST PHASE... with a phase STEPS:SECONDS,RUNNING:SECONDS,RUNNING:...
// the seconds of a step, and the share of it that a thread runs, on 1, 2, 4 ... threads. Prints for each phase the
// threads at its end, how many of its steps those ran, and the threads of a step of many tokens.
#include "runtime/native/engine/crew.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>

int main(int count, char **arguments) {
  bn::Crew crew(std::atoi(arguments[1]));
  for (int i = 2; i < count; ++i) {
    std::istringstream phase(arguments[i]);
    int steps;
    phase >> steps;
    std::map<int, std::pair<double, double>> machine;
    double seconds, running;
    char mark;
    for (int threads = 1; phase >> mark >> seconds >> mark >> running; threads *= 2) machine[threads] = {seconds, running};
    std::map<int, int> ran;
    for (int step = 0; step < steps; ++step) {
      const auto [took, share] = machine.at(crew.threads(1));
      ++ran[crew.threads(1)];
      crew.saw(1, took, took * share);
    }
    std::printf("%d %d %d\n", crew.threads(1), ran[crew.threads(1)], crew.threads(100));
  }
}
