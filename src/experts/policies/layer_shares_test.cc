#include "experts/policies/layer_shares.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>

namespace flashmoe {
namespace {

// Of every layer that has residents, expert 0 may go.
ExpertKey victim_for(const LayerShares& shares, std::uint32_t layer,
                     std::span<const std::size_t> residents) {
  return shares.choose_victim(LayerId{layer}, [&](LayerId from) -> std::optional<ExpertKey> {
    if (residents[from.value] == 0) return std::nullopt;
    return ExpertKey{from, ExpertId{0}};
  });
}

class LayerSharesTest : public testing::Test {
 protected:
  // Layer 2 has no experts.
  static constexpr std::array<std::size_t, 5> kExperts = {16, 16, 0, 16, 16};
  void load(std::array<std::size_t, 5> residents) {
    residents_ = residents;
    for (std::uint32_t l = 0; l < residents.size(); ++l) {
      for (std::size_t i = 0; i < residents[l]; ++i) shares_.on_loaded(LayerId{l});
    }
  }
  std::uint32_t victim_layer(std::uint32_t layer) const {
    return victim_for(shares_, layer, residents_).layer.value;
  }
  LayerShares shares_{kExperts};
  std::array<std::size_t, 5> residents_ = {};
};

TEST_F(LayerSharesTest, ALayerBelowItsShareTakesFromTheFullest) {
  shares_.set_slots({.counts = {16}});
  load({5, 2, 0, 6, 3});
  EXPECT_EQ(victim_layer(0), 0u);
  EXPECT_EQ(victim_layer(1), 3u);
}

TEST_F(LayerSharesTest, ALayerTakesFromItsOwnClassOnly) {
  shares_.set_slots({.counts = {8, 12}, .class_of_layer = {0, 1, 0, 1, 0}});
  load({5, 2, 0, 10, 3});
  EXPECT_EQ(victim_layer(1), 3u);
  EXPECT_EQ(victim_layer(4), 0u) << "layer 3 has more, in slots of another size";
}

TEST_F(LayerSharesTest, ShareIsThatOfTheClass) {
  shares_.set_slots({.counts = {4, 20}, .class_of_layer = {0, 1, 0, 1, 0}});
  load({2, 9, 0, 11, 2});
  EXPECT_EQ(victim_layer(0), 0u) << "two of four slots are the layer's share";
  EXPECT_EQ(victim_layer(1), 3u) << "nine of twenty are less than it";
}

}  // namespace
}  // namespace flashmoe
