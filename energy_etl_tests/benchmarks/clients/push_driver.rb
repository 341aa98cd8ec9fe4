# Hands all measurements of a file to the vendor's agent and says what that took, as JSON.
entry, path, username, password = ARGV
require entry
require 'json'

measurements = File.readlines(path, chomp: true).map do |line|
  stream_id, stamped_ms, value = line.split("\t")
  measurement = SimpleMeasurement.new
  measurement.id = stream_id
  measurement.timestamp = Time.at(stamped_ms.to_i / 1000).utc
  measurement.value = value.to_f
  measurement
end
config = Config.new(:TEST, username, password)
agent = Agent.get_instance
clock = ->(id) { Process.clock_gettime(id) }
began_s = clock.call(Process::CLOCK_MONOTONIC)
cpu_s = clock.call(Process::CLOCK_PROCESS_CPUTIME_ID)
agent.send(measurements, config)
agent.wait_until_last
puts JSON.generate(
  wall_s: clock.call(Process::CLOCK_MONOTONIC) - began_s,
  cpu_s: clock.call(Process::CLOCK_PROCESS_CPUTIME_ID) - cpu_s
)
