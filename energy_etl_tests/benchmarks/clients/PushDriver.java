import com.wattics.Agent;
import com.wattics.Config;
import com.wattics.Measurement;
import com.wattics.MeasurementSentHandler;
import com.wattics.SimpleMeasurement;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;

/** Hands all measurements of a file to the vendor's agent and says what that took, as JSON. */
public class PushDriver {
    public static void main(String[] arguments) throws Exception {
        List<Measurement> toWarmUp = read(arguments[0]);
        List<Measurement> measurements = read(arguments[1]);
        Config config = new Config(Config.Environment.LOCAL, arguments[2], arguments[3]);
        OperatingSystemMXBean system =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        push(toWarmUp, config);
        long beganNs = System.nanoTime();
        long cpuNs = system.getProcessCpuTime();
        push(measurements, config);
        double wallS = (System.nanoTime() - beganNs) / 1e9;
        double cpuS = (system.getProcessCpuTime() - cpuNs) / 1e9;
        System.out.printf(Locale.ROOT, "{\"wall_s\": %.6f, \"cpu_s\": %.6f}%n", wallS, cpuS);
        // The agent's threads never end.
        System.exit(0);
    }

    private static List<Measurement> read(String path) throws Exception {
        List<Measurement> measurements = new ArrayList<>();
        for (String line : Files.readAllLines(Paths.get(path))) {
            String[] columns = line.split("\t");
            SimpleMeasurement measurement = new SimpleMeasurement();
            measurement.setId(columns[0]);
            Instant instant = Instant.ofEpochMilli(Long.parseLong(columns[1]));
            // The client stamps it +00:00.
            measurement.setTimestamp(LocalDateTime.ofInstant(instant, ZoneOffset.UTC));
            measurement.setValue(Double.valueOf(columns[2]));
            measurements.add(measurement);
        }
        return measurements;
    }

    private static void push(List<Measurement> measurements, Config config) throws Exception {
        CountDownLatch left = new CountDownLatch(measurements.size());
        Agent agent = Agent.getInstance();
        MeasurementSentHandler handler =
            agent.addMeasurementSentHandler((measurement, response) -> left.countDown());
        agent.send(measurements, config);
        left.await();
        handler.remove();
    }
}
